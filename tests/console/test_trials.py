from modelyard.console.trials import Run


def run(*events: dict[str, object]) -> Run:
    run = Run()
    for event in events:
        run.take({"time": 1.0, **event})
    return run


def test_a_stage_without_trials_has_a_phase_and_steps() -> None:
    done = run({"step": 1, "phase": "reading"}, {"step": 2, "phase": "writing", "total": 5})
    assert (done.phase, done.step, done.total, done.trials) == ("writing", 2, 5, {})


def test_a_trial_shows_its_latest_epoch_until_it_ends() -> None:
    search = run(
        {"step": 0, "phase": "preparing the graph"},
        {"step": 1, "trial": 0, "total": 9, "loss": 2.0, "valid_loss": 2.5, "acc": 0.5},
        {"step": 2, "trial": 0, "total": 9, "loss": 1.0, "valid_loss": 1.5, "acc": 0.7},
        {"step": 1, "trial": 1, "total": 9, "loss": 3.0, "valid_loss": 3.5, "acc": 0.4},
        {"step": 1, "phase": "search", "total": 4, "trial": 0, "state": "complete", "best": 0.7},
    )
    assert (search.step, search.total, search.best, search.metric) == (1, 4, 0.7, "acc")
    assert search.trials[0].metrics == {"loss": 1.0, "valid_loss": 1.5, "acc": 0.7}
    assert search.trials[0].state == "complete"
    assert [(trial.number, trial.epoch, trial.epochs) for trial in search.running] == [(1, 1, 9)]


def test_a_phase_in_the_middle_of_a_search_leaves_its_count_alone() -> None:
    search = run(
        {"step": 1, "phase": "search", "total": 4, "trial": 0, "state": "pruned", "best": None},
        {"step": 0, "phase": "preparing the graph"},
    )
    assert (search.step, search.total) == (1, 4)


def test_a_trial_whose_process_was_lost_runs_again() -> None:
    search = run({"step": 7, "trial": 0, "loss": 1.0}, {"step": 1, "trial": 0, "loss": 2.0})
    assert search.running[0].epoch == 1


def test_a_metric_that_is_no_number_is_not_shown() -> None:
    assert run({"step": 1, "trial": 0, "loss": None, "acc": "high"}).trials[0].metrics == {}
