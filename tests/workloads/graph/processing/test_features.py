from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest

from modelyard.workloads.graph.processing import features as features_module
from modelyard.workloads.graph.processing.encoders import compact, dense, from_document, to_document
from modelyard.workloads.graph.processing.export import FeatureSpec
from modelyard.workloads.graph.processing.features import BadCell, NoValues, RawColumn, fit, infer, parse, parse_dates


def encode(kind: str, cells: Sequence[str], new: Sequence[str] | None = None, **options: Any) -> np.ndarray:
    """The cells encoded, or `new` cells by the encoder of `cells`; through JSON and back, as a later job does."""
    spec = FeatureSpec("v", "v", kind, options)
    encoder = from_document(to_document(fit(spec, parse(spec, pl.Series(cells)))))
    matrix = dense(encoder.encode(parse(spec, pl.Series(cells if new is None else new))))
    assert matrix.dtype == np.float32
    assert matrix.shape == (len(cells if new is None else new), encoder.dim)
    return matrix


def close(actual: np.ndarray, expected: Any) -> None:
    np.testing.assert_allclose(actual, np.asarray(expected, np.float32), rtol=1e-6, atol=1e-6)


class TestNumerical:
    def test_none_keeps_values(self) -> None:
        close(encode("numerical", ["1", " -2.5 ", "1e3"], norm="none"), [[1], [-2.5], [1000]])

    def test_min_max_is_the_default(self) -> None:
        close(encode("numerical", ["10", "20", "15"]), [[0], [1], [0.5]])

    def test_standard_divides_by_the_sum(self) -> None:
        close(encode("numerical", ["1", "3", "4"], norm="standard"), [[0.125], [0.375], [0.5]])

    @pytest.mark.parametrize(("norm", "expected"), [("min-max", 0), ("standard", 0.5), ("none", 7)])
    def test_constant_values(self, norm: str, expected: float) -> None:
        close(encode("numerical", ["7", "7"], norm=norm), [[expected], [expected]])

    def test_a_sum_of_zero_leaves_values(self) -> None:
        close(encode("numerical", ["0", "0"], norm="standard"), [[0], [0]])
        close(encode("numerical", ["-1", "1"], norm="standard"), [[-1], [1]])

    @pytest.mark.parametrize(("imputer", "filled"), [("mean", 4), ("median", 2), ("most-frequent", 1)])
    def test_imputers(self, imputer: str, filled: float) -> None:
        cells = ["1", "", "1", "2", "6", "10", "NaN"]
        close(encode("numerical", cells, norm="none", imputer=imputer)[:, 0], [1, filled, 1, 2, 6, 10, filled])

    def test_new_values_take_the_old_encoding(self) -> None:
        close(encode("numerical", ["0", "10"], ["20", "", "5"], imputer="mean"), [[2], [0.5], [0.5]])

    def test_vectors_are_normalised_column_by_column(self) -> None:
        close(encode("numerical", ["0;5", "4;5", "2;5"], separator=";"), [[0, 0], [1, 0], [0.5, 0]])
        cells = ["1;2", "", "3; 4", "2;"]
        close(encode("numerical", cells, separator=";", norm="none", imputer="mean"), [[1, 2], [2, 3], [3, 4], [2, 3]])

    def test_mostly_zero_vectors_stay_sparse_unless_zeros_move(self) -> None:
        cells = [";".join("1" if column == row else "0" for column in range(40)) for row in range(40)]
        spec = FeatureSpec("v", "v", "numerical", {"separator": ";", "norm": "min-max"})
        column = parse(spec, pl.Series(cells))
        matrix = fit(spec, column).encode(column)
        assert not isinstance(column, np.ndarray)
        assert not isinstance(matrix, np.ndarray)
        close(dense(matrix), np.eye(40))
        negative = [cells[0].replace("1", "-1"), *cells[1:]]
        assert encode("numerical", negative, separator=";")[1, 0] == 1  # the smallest is -1, so zero becomes one

    def test_a_column_far_from_zero_is_scaled_exactly(self) -> None:
        close(encode("numerical", ["1600000000001", "1600000000003", "1600000000002"]), [[0], [1], [0.5]])

    @pytest.mark.parametrize("options", [{}, {"separator": ";"}])
    def test_the_largest_number_of_32_bits_in_its_usual_digits(self, options: dict[str, Any]) -> None:
        largest = np.finfo(np.float32).max
        matrix = encode("numerical", ["3.4028235e38", "-3.4028235e+38", "1"], norm="none", **options)
        assert matrix[:, 0].tolist() == [largest, -largest, 1]

    @pytest.mark.parametrize(
        ("cells", "options", "row", "reason"),
        [
            (["1", "x"], {}, 1, "is not a number"),
            (["1", "1,5"], {}, 1, "is not a number"),
            (["1", "2", "inf"], {}, 2, "is not a finite number that 32 bits can hold"),
            (["-1e39"], {}, 0, "is not a finite number that 32 bits can hold"),
            (["3.4028236e38"], {}, 0, "is not a finite number that 32 bits can hold"),
            (["1", ""], {}, 1, "has no value, and the feature has no imputer"),
            (["", ""], {"separator": ";"}, 0, "has no value, and the feature has no imputer"),
            (["1;2", "", "3"], {"separator": ";", "imputer": "mean"}, 2, "has 1 values where the others have 2"),
            (["1;2", "", "3;x"], {"separator": ";", "imputer": "mean"}, 2, "holds a value that is not a number"),
            (["1;2", "3;"], {"separator": ";"}, 1, "has no value, and the feature has no imputer"),
        ],
    )
    def test_bad_cells(self, cells: list[str], options: dict[str, Any], row: int, reason: str) -> None:
        with pytest.raises(BadCell, match=reason) as error:
            parse(FeatureSpec("v", "v", "numerical", options), pl.Series(cells))
        assert error.value.row == row

    def test_no_values_at_all(self) -> None:
        spec = FeatureSpec("v", "v", "numerical", {"separator": ";", "imputer": "mean"})
        with pytest.raises(NoValues, match="has no values"):
            fit(spec, parse(spec, pl.Series(["", ""])))


class TestCategory:
    def test_a_slot_for_each_value_and_none_for_a_missing_one(self) -> None:
        close(encode("category", ["b", "a", "", " b "]), [[0, 1], [1, 0], [0, 0], [0, 1]])

    def test_several_values_in_a_cell(self) -> None:
        close(encode("category", ["a;b", "b;b", "c;", ""], separator=";"), [[1, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]])

    def test_a_hundred_categories_are_kept(self) -> None:
        assert encode("category", [f"c{n}" for n in range(100)]).shape[1] == 100

    def test_of_more_the_99_most_frequent_and_all_others_in_one(self) -> None:
        cells = [f"c{n:03}" for n in range(101)] + [f"c{n:03}" for n in range(2, 101)]
        matrix = encode("category", cells)
        assert matrix.shape[1] == 100
        assert matrix[0, 99] == matrix[1, 99] == 1
        assert matrix[2, 0] == 1
        assert (matrix.sum(axis=1) == 1).all()

    def test_unknown_values_of_a_later_job(self) -> None:
        close(encode("category", ["a", "b"], ["z", "b"]), [[0, 0], [0, 1]])
        assert encode("category", [f"c{n}" for n in range(101)], ["z"])[0, 99] == 1

    def test_nothing_but_missing_values(self) -> None:
        with pytest.raises(NoValues, match="has no values"):
            encode("category", ["", " "])


class TestBuckets:
    def test_values_outside_fall_into_the_ends(self) -> None:
        cells = ["-5", "0", "9.99", "10", "29", "30", "99"]
        buckets = encode("bucket_numerical", cells, range=(0.0, 30.0), bucket_cnt=3).argmax(axis=1)
        assert buckets.tolist() == [0, 0, 0, 1, 2, 2, 2]

    def test_a_window_sets_all_buckets_it_overlaps(self) -> None:
        # 17 ± 4 covers 13 to 21; 1 ± 4 begins below the range; 50 ± 4 lies above it.
        matrix = encode("bucket_numerical", ["17", "1", "50"], range=(0.0, 40.0), bucket_cnt=4, slide_window_size=8.0)
        close(matrix, [[0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])

    def test_imputed(self) -> None:
        cells = ["5", "35", "35", ""]
        matrix = encode("bucket_numerical", cells, range=(0.0, 40.0), bucket_cnt=4, imputer="most-frequent")
        assert matrix.argmax(axis=1).tolist() == [0, 3, 3, 3]

    def test_missing_without_imputer(self) -> None:
        with pytest.raises(BadCell, match="has no imputer"):
            encode("bucket_numerical", ["1", ""], range=(0.0, 40.0), bucket_cnt=4)


class TestDatetime:
    @pytest.mark.parametrize(
        ("cell", "instant"),
        [
            ("2024-05-31", "2024-05-31T00:00:00"),
            ("2024-05-31T12:30:15", "2024-05-31T12:30:15"),
            ("2024-05-31 12:30:15.250", "2024-05-31T12:30:15.250"),
            ("2024-05-31T12:30", "2024-05-31T12:30:00"),
            ("2024-05-31T12:30:15Z", "2024-05-31T12:30:15"),
            ("2024-05-31T12:30:15.5z", "2024-05-31T12:30:15.5"),
            ("2024-05-31T23:30:00-02:00", "2024-06-01T01:30:00"),
            ("2024-05", "2024-05-01T00:00:00"),
            (" 2024 ", "2024-01-01T00:00:00"),
        ],
    )
    def test_forms_of_dates(self, cell: str, instant: str) -> None:
        assert parse_dates(pl.Series([cell, "2000-01-01"])).to_numpy()[0] == np.datetime64(instant)

    @pytest.mark.parametrize("cell", ["yesterday", "2024-13-01", "2024-02-30", "31.05.2024", "12"])
    def test_what_is_no_date(self, cell: str) -> None:
        with pytest.raises(BadCell, match="is not a date") as error:
            parse_dates(pl.Series(["2024", cell]))
        assert error.value.row == 1

    def test_all_parts(self) -> None:
        # 1999-12-31 was a Friday, 2001-01-01 a Monday.
        matrix = encode("datetime", ["1999-12-31T23:00:00", "2001-01-01T00:00:00"])
        assert matrix.shape[1] == 3 + 12 + 7 + 24
        assert np.flatnonzero(matrix[0]).tolist() == [0, 3 + 11, 15 + 4, 22 + 23]
        assert np.flatnonzero(matrix[1]).tolist() == [2, 3 + 0, 15 + 0, 22 + 0]

    def test_a_part_with_one_value_is_dropped(self) -> None:
        assert encode("datetime", ["2024-05-01", "2024-06-01"], datetime_parts=("year", "month", "hour")).shape[1] == 12
        with pytest.raises(NoValues, match="has nothing that tells rows apart"):
            encode("datetime", ["2024-05-01", "2024-05-01"])

    def test_missing_dates(self) -> None:
        cells = ["2024-01-01", "", "2024-03-01", "2024-03-01"]
        plain = encode("datetime", cells, datetime_parts=("month",))
        assert not plain[1].any()
        filled = encode("datetime", cells, datetime_parts=("month",), imputer="most-frequent")
        assert filled[1].argmax() == 2

    def test_years_outside_the_first_jobs_span_set_nothing(self) -> None:
        close(encode("datetime", ["2020", "2021"], ["2019", "2021"], datetime_parts=("year",)), [[0, 0], [0, 1]])


class TestText:
    def test_counts_are_divided_by_the_number_of_values_with_the_term(self) -> None:
        cells = ["red red apple", "green apple", "apple tree", ""]
        matrix = encode("text_tfidf", cells, min_df=1)
        # apple, green, red, tree
        close(matrix, [[1 / 3, 0, 2, 0], [1 / 3, 1, 0, 0], [1 / 3, 0, 0, 1], [0, 0, 0, 0]])

    def test_rare_terms_are_left_out_and_pairs_of_words_are_terms(self) -> None:
        assert encode("text_tfidf", ["red apple", "green apple", "red apple"]).shape[1] == 2
        assert encode("text_tfidf", ["red apple", "green apple", "red apple"], ngram_range=(1, 2)).shape[1] == 3

    def test_many_terms_are_projected_so_that_lengths_stay_alike(self) -> None:
        words = [f"word{number}" for number in range(2000)]
        random = np.random.default_rng(0)
        cells = [" ".join(random.choice(words, 200)) for _ in range(50)]
        projected = encode("text_tfidf", cells, min_df=1)
        plain = encode("text_tfidf", cells, min_df=1, max_features=100)
        assert projected.shape[1] == plain.shape[1] == 100
        assert (np.linalg.norm(projected, axis=1) > 0).all()
        close(projected, encode("text_tfidf", cells, min_df=1))

    @pytest.mark.parametrize("cells", [["a", "b"], ["", ""], ["one two", "three four"]])
    def test_no_terms(self, cells: list[str]) -> None:
        with pytest.raises(NoValues, match="has no terms"):
            encode("text_tfidf", cells)


class TestAuto:
    @pytest.mark.parametrize(
        ("cells", "expected", "options"),
        [
            ([str(n) for n in range(50)], "numerical", {"norm": "min-max", "imputer": "median"}),
            (["1.5", "2.5", ""], "numerical", {"norm": "min-max", "imputer": "median"}),
            (["0", "1"] * 50, "category", {}),
            (["2024-01-01", "2024-02-01T10:00:00Z"], "datetime", {}),
            (["true", "False", "true"], "category", {}),
            (["red", "blue", "red"], "category", {}),
            (["a tale of cats", "a tale of dogs", "on rivers and lakes"], "text_tfidf", {}),
            (["1;2", "3;4"], "numerical", {"norm": "min-max", "imputer": "median", "separator": ";"}),
            (["1;2", ""], "numerical", {"norm": "min-max", "imputer": "median", "separator": ";"}),
            (["red;blue", "red"], "category", {"separator": ";"}),
            (["2003;2004", "2005"], "category", {"separator": ";"}),
        ],
    )
    def test_what_values_mean(self, cells: list[str], expected: str, options: dict[str, Any]) -> None:
        spec = infer(FeatureSpec("v", "v", "auto"), pl.Series(cells))
        assert (spec.type, spec.options) == (expected, options)
        fit(spec, parse(spec, pl.Series(cells)))

    @pytest.mark.parametrize(
        ("cells", "reason"), [(["", ""], "has no values"), (["k1", "k2", "k3"], "has another value in every row")]
    )
    def test_what_means_nothing(self, cells: list[str], reason: str) -> None:
        with pytest.raises(NoValues, match=reason):
            infer(FeatureSpec("v", "v", "auto"), pl.Series(cells))

    def test_the_users_own_options_are_kept(self) -> None:
        spec = infer(FeatureSpec("v", "v", "auto", {"separator": "|", "imputer": "mean"}), pl.Series(["1|2", ""]))
        assert spec.options == {"norm": "min-max", "imputer": "mean", "separator": "|"}


class TestRawColumn:
    def test_pieces_of_all_kinds_join(self) -> None:
        column = RawColumn(FeatureSpec("v", "v", "numerical", {"separator": ";", "imputer": "mean"}))
        column.add(pl.Series(["", ""]))
        column.add(pl.Series([";".join(["0"] * 39 + ["1"])] * 3))
        column.add(pl.Series([""]))
        values = column.values()
        assert isinstance(values, np.ndarray)
        assert values.shape == (6, 40)
        assert np.isnan(values[[0, 1, 5]]).all()
        assert values[2, 39] == 1

    def test_long_vectors_are_parsed_in_parts_and_faults_keep_their_row(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(features_module, "VECTOR_BYTES", 16)
        column = RawColumn(FeatureSpec("v", "v", "numerical", {"separator": ";"}))
        column.add(pl.Series([f"{row};{row}" for row in range(20)]))
        assert len(column.pieces) > 4
        with pytest.raises(BadCell) as error:
            column.add(pl.Series(["1;1"] * 17 + ["1;x"]))
        assert error.value.row == 17
        close(column.values()[:20, 1], np.arange(20))


def test_compact_is_sparse_only_where_that_saves_room() -> None:
    wide = np.zeros((10, 40), np.float32)
    wide[:, 0] = 1
    assert not isinstance(compact(wide), np.ndarray)
    assert isinstance(compact(wide[:, :20]), np.ndarray)
    assert isinstance(compact(wide + 1), np.ndarray)
