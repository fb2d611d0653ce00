import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

import modelyard
from modelyard.images.adding import add
from modelyard.images.folder import OpenedImage
from modelyard.runner.sandbox import Bind, Container, Limits, gpu
from modelyard.runner.sandbox.cgroup import Cgroup

MIB = 2**20
Start = Callable[..., Container]
Run = Callable[..., tuple[int, str]]

SERVER = """
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ["ME"].encode())
    def log_message(self, *_): pass
HTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
"""


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alive(mark: str) -> bool:
    """Whether a process of this machine has the mark in its command line."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes():
                return True
        except OSError:
            continue
    return False


def connected(container: Container) -> socket.socket:
    """A connection, as soon as somebody listens."""
    while True:
        try:
            return container.connect()
        except ConnectionRefusedError:
            assert container.poll() is None
            time.sleep(0.01)


def asked(container: Container) -> str:
    """What the container's server answers."""
    with connected(container) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
    return answer.partition(b"\r\n\r\n")[2].decode()


class TestProgram:
    def test_says_its_output_and_its_status(self, run: Run) -> None:
        code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)"
        assert run(code) == (7, "out\nerr\n")

    def test_a_signal_that_ends_it_is_a_status_too(self, run: Run) -> None:
        assert run("import ctypes; ctypes.string_at(0)")[0] == 128 + 11

    def test_has_its_image_its_binds_and_its_environment(self, run: Run, tmp_path: Path) -> None:
        for name in ("in", "out"):
            (tmp_path / name).mkdir()
        (tmp_path / "in" / "rows.csv").write_text("1")
        code = (
            "import os, shutil; shutil.copy('/opt/ml/input/rows.csv', '/opt/ml/model/copy');"
            "print(os.getcwd(), open('code.txt').read(), os.environ['A'], open('/etc/hosts').read().split()[2])"
        )
        binds = Bind(tmp_path / "in", "/opt/ml/input"), Bind(tmp_path / "out", "/opt/ml/model", writable=True)
        assert run(code, *binds, environment={"A": "b c"}) == (0, "/opt/program the code b c algo-1\n")
        assert (tmp_path / "out" / "copy").read_text() == "1"

    def test_finds_the_packages_of_the_servers_python(self, run: Run) -> None:
        assert run("import click, sys; print(sys.version_info[:2])") == (0, f"{sys.version_info[:2]}\n")

    def test_finds_this_package(self, run: Run) -> None:
        assert run("import modelyard; print(modelyard.__file__)") == (0, f"{modelyard.__file__}\n")

    def test_may_be_another_than_the_images(self, start: Start, said: Callable[[bytes], None]) -> None:
        with start("hello", entrypoint=["echo"]) as container:
            assert container.wait(20) == 0
        assert said.text == "hello\n"

    def test_may_use_a_python_that_lies_below_tmp(
        self, start: Start, said: Callable[[bytes], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prefix = tmp_path / "prefix"  # `tmp_path` itself is its owner's alone
        prefix.mkdir()
        (prefix / "python").write_text("here")
        monkeypatch.setattr(sys, "prefix", str(prefix))
        with start(str(prefix / "python"), entrypoint=["cat"]) as container:
            assert container.wait(20) == 0
        assert said.text == "here"

    def test_one_that_does_not_exist_is_said_to(self, start: Start, said: Callable[[bytes], None]) -> None:
        with start("x", entrypoint=["/no/such/program"]) as container:
            assert container.wait(20) not in (0, None)
        assert "No such file" in said.text or "not found" in said.text

    def test_what_it_says_is_taken_where_we_see_our_own_files(self, start: Start, tmp_path: Path) -> None:
        with start("print('said', end='')", output=lambda piece: (tmp_path / "log").write_bytes(piece)) as container:
            assert container.wait(20) == 0
        assert (tmp_path / "log").read_text() == "said"

    def test_without_any_nothing_starts(self, tmp_path: Path) -> None:
        image = OpenedImage(tmp_path, "rootfs", "sha256:0")
        with pytest.raises(ValueError, match="neither an entry point"):
            Container(image, [], {}, [], Limits(MIB, 1), "x", print)


class TestStop:
    def test_the_program_may_end_well(self, start: Start) -> None:
        code = (
            "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(3));"
            "open('/opt/ml/up/file', 'w'); time.sleep(60)"
        )
        with start(code, [Bind(self.folder, "/opt/ml/up", writable=True)]) as container:
            until((self.folder / "file").exists)
            assert container.stop(20) == 3

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "up"
        self.folder.mkdir()

    def test_one_that_ignores_it_is_killed_with_all_its_children(self, start: Start) -> None:
        mark = uuid4().hex
        code = (
            "import os, signal, subprocess, sys, time; signal.signal(15, signal.SIG_IGN);"
            f"subprocess.Popen(['setsid', 'sh', '-c', 'trap \"\" TERM; sleep 600; : {mark}'], start_new_session=True);"
            "open('/opt/ml/up/file', 'w'); time.sleep(600)"
        )
        with start(code, [Bind(self.folder, "/opt/ml/up", writable=True)]) as container:
            until(lambda: (self.folder / "file").exists() and alive(mark))
            began = time.monotonic()
            assert container.stop(0.3) == 128 + 9
            assert time.monotonic() - began < 10
            assert not alive(mark)

    def test_leaving_the_block_kills_it(self, start: Start) -> None:
        mark = uuid4().hex
        code = f"import subprocess; subprocess.run(['sh', '-c', 'sleep 600; : ' + '{mark[:9]}' + '{mark[9:]}'])"
        with start(code) as container:
            until(lambda: alive(mark))
            assert container.poll() is None
        assert not alive(mark)
        assert container.poll() == 128 + 9

    def test_what_it_leaves_behind_ends_with_it(self, run: Run) -> None:
        mark = uuid4().hex
        code = f"import subprocess; subprocess.Popen(['sh', '-c', 'sleep 600; : {mark}'], start_new_session=True)"
        assert run(code)[0] == 0
        assert not alive(mark)

    def test_it_dies_with_us(self, project: OpenedImage, by: str, tmp_path: Path) -> None:
        mark = uuid4().hex
        code = f"""
import os, signal, sys
from pathlib import Path
from modelyard.runner.sandbox import Container, Limits, OpenedImage
image = OpenedImage(Path({str(project.folder)!r}), "project", "sha256:0", ["python", "-c"], workdir="/opt/program")
code = "print(1, flush=True); import time; time.sleep(600); {mark!r}"
with Container(image, [code], {{}}, [], Limits(2**29, 1), {mark!r}, lambda piece: os.kill(os.getpid(), 9), by={by!r}):
    signal.pause()
"""
        ours = subprocess.run([sys.executable, "-c", code], timeout=60)
        assert ours.returncode == -signal.SIGKILL
        until(lambda: not alive(mark))


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of devices in the place of `/dev`, with two that stand for GPUs: they swallow all, and give nothing."""
    for name, mode in (("nvidia0", 0o666), ("nvidia1", 0o666), ("nvidiactl", 0o666), ("nvidia-uvm", 0o600)):
        try:
            os.mknod(tmp_path / name, stat.S_IFCHR, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("this user may make no devices")
        (tmp_path / name).chmod(mode)
    (tmp_path / "nvidia2").write_text("no device")
    (tmp_path / "nvidia-caps").mkdir()
    monkeypatch.setattr(gpu, "DEVICES", tmp_path)
    return tmp_path


class TestGPUs:
    LIST = "import os; print(*sorted(name for name in os.listdir('/dev') if name.startswith('nvidia')))"

    def test_who_may_use_them_sees_their_devices(self, run: Run, gpus: Path) -> None:
        work = "print(open('/dev/nvidia1', 'r+b', 0).write(b'work'))"
        assert run(f"{self.LIST}; {work}", gpu=True) == (0, "nvidia-uvm nvidia0 nvidia1 nvidiactl\n4\n")

    def test_what_only_root_may_open_stays_closed(self, run: Run, gpus: Path) -> None:
        status, said = run("open('/dev/nvidia-uvm', 'rb')", gpu=True)
        assert status == 1
        assert "PermissionError" in said

    def test_others_see_none(self, run: Run, gpus: Path) -> None:
        assert run(self.LIST) == (0, "\n")

    def test_without_one_there_is_nothing_to_see(self, run: Run, gpus: Path) -> None:
        for name in ("nvidia0", "nvidia1"):
            (gpus / name).unlink()
        assert run(self.LIST, gpu=True) == (0, "\n")

    @pytest.mark.parametrize(
        ("visible", "count"), [(None, 2), ("1", 1), ("", 0), ("0,1,2,3", 2), ("GPU-a,GPU-b", 2), ("1,-1,0", 1)]
    )
    def test_those_that_the_operator_left_are_counted(
        self, gpus: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None, count: int
    ) -> None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert gpu.count() == count


class TestNetwork:
    @pytest.mark.parametrize("network", [False, True])
    def test_only_one_that_may_reaches_the_machines_own(self, run: Run, network: bool) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            address = listening.getsockname()
            status, said = run(f"import socket; socket.create_connection({address!r}, 5)", network=network)
        assert (status == 0) == network, said

    def test_two_listen_on_the_same_port_and_are_reached_apart(self, start: Start) -> None:
        with (
            start(SERVER, environment={"ME": "one"}) as one,
            start(SERVER, environment={"ME": "other"}) as other,
        ):
            assert [asked(container) for container in (one, other, one)] == ["one", "other", "one"]

    def test_it_refuses_until_somebody_listens_and_after_the_end(self, start: Start) -> None:
        with start("import time; time.sleep(600)") as container:
            with pytest.raises(ConnectionRefusedError):
                container.connect()
            container.stop(0)
            with pytest.raises(ConnectionRefusedError):
                container.connect(8081)

    def test_one_that_never_accepts_holds_nobody_up(self, start: Start) -> None:
        code = "import socket, time; s = socket.create_server(('', 8080), backlog=0); time.sleep(600)"
        with start(code) as container:
            taken = [connected(container)]
            began = time.monotonic()
            with pytest.raises(TimeoutError):  # noqa: PT012 - the first that waits is the one that is refused
                while True:
                    taken.append(container.connect())
            for connection in taken:
                connection.close()
        assert time.monotonic() - began < 15

    def test_nothing_can_be_reached_from_inside(self, run: Run) -> None:
        with socket.create_server(("127.0.0.1", 0)) as ours, socket.socket(socket.AF_UNIX) as hidden:
            hidden.bind(f"\0{(mark := uuid4().hex)}")
            hidden.listen()
            code = f"""
import os, socket
def reach(family, kind, address):
    with socket.socket(family, kind) as connection:
        connection.settimeout(3)
        connection.connect(address)
for family, kind, address in (
    (socket.AF_INET, socket.SOCK_STREAM, ("1.1.1.1", 443)),
    (socket.AF_INET6, socket.SOCK_STREAM, ("2606:4700:4700::1111", 443)),
    (socket.AF_INET, socket.SOCK_DGRAM, ("8.8.8.8", 53)),
    (socket.AF_INET, socket.SOCK_STREAM, ("169.254.169.254", 80)),
    (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", {ours.getsockname()[1]})),
    (socket.AF_UNIX, socket.SOCK_STREAM, "\\0{mark}"),
    (socket.AF_VSOCK, socket.SOCK_STREAM, (2, 1)),
    (socket.AF_PACKET, socket.SOCK_RAW, ("lo", 0)),
):
    try:
        reach(family, kind, address)
        print("reached", address)
    except OSError as error:
        pass
try:
    socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    print("vsock")
except OSError:
    pass
print(sorted(line.split(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:]))
"""
            assert run(code) == (0, "['lo']\n")


class TestFiles:
    def test_it_sees_no_file_of_ours(self, run: Run, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.write_text("ours")
        code = f"""
import os
for path in ("/etc/shadow", "/etc/ssh", "/var", "/home", "/sys/kernel", "/sys/fs/cgroup/memory", "/dev/mem",
             {str(secret)!r}, {str(Path(__file__))!r}, "/proc/1/root{secret}"):
    try:
        print(path, os.listdir(path) if os.path.isdir(path) else open(path).read())
    except OSError:
        pass
"""
        _, text = run(code)
        lines = [line for line in text.splitlines() if not line.endswith("[]")]
        assert lines == []

    def test_it_writes_nothing_but_its_binds_and_memory(self, run: Run, tmp_path: Path) -> None:
        for name in ("in", "out"):
            (tmp_path / name).mkdir()
        (tmp_path / "in" / "file").write_text("ours")
        code = f"""
import os, shutil
for path in ("/x", "/usr/x", "/etc/x", "/opt/x", "/opt/ml/x", "/opt/program/x", "/dev/x", "/opt/ml/in/x",
             "/opt/ml/in/file", "/opt/program/code.txt", "{sys.prefix}/x", "/proc/sys/kernel/core_pattern",
             "/proc/sysrq-trigger", "/proc/1/oom_score_adj", "/tmp/allowed", "/dev/shm/allowed",
             "/opt/ml/out/allowed"):
    try:
        with open(path, "a") as stream:
            stream.write("x")
        print(path)
    except OSError:
        pass
try:
    os.remove("/opt/ml/in/file")
    print("removed")
except OSError:
    pass
"""
        binds = Bind(tmp_path / "in", "/opt/ml/in"), Bind(tmp_path / "out", "/opt/ml/out", writable=True)
        _, text = run(code, *binds)
        assert text.split() == ["/tmp/allowed", "/dev/shm/allowed", "/opt/ml/out/allowed"]
        assert (tmp_path / "in" / "file").read_text() == "ours"

    def test_links_in_what_it_is_given_lead_nowhere(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("ours")
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "link").symlink_to(tmp_path / "secret")
        status, text = run("print(open('/opt/ml/in/link').read())", Bind(tmp_path / "in", "/opt/ml/in"))
        assert status == 1
        assert "FileNotFoundError" in text

    def test_refuses_links_and_places_of_its_own(self, start: Start, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "link").symlink_to("/etc")
        with pytest.raises(ValueError, match="no links"):
            start("", [Bind(tmp_path / "link", "/opt/ml/x")])
        for target in ("/etc", "/opt/mlx", "opt/ml/x", "/opt/ml/../../etc", "/opt/ml//x", "/"):
            with pytest.raises(ValueError, match="no place for a bind"):
                start("", [Bind(tmp_path / "folder", target)])

    def test_what_it_leaves_lends_nobody_our_rights(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        code = """
import os, stat
def attempt(work):
    try:
        work()
    except OSError as error:
        print(error.errno)
open("/opt/ml/out/su", "w").close()
attempt(lambda: os.mknod("/opt/ml/out/disk", stat.S_IFBLK | 0o666, os.makedev(8, 0)))
attempt(lambda: os.mknod("/opt/ml/out/null", stat.S_IFCHR | 0o666, os.makedev(1, 3)))
attempt(lambda: os.chown("/opt/ml/out/su", 0, 0))
os.chmod("/opt/ml/out/su", 0o6777)
"""
        status, text = run(code, Bind(tmp_path / "out", "/opt/ml/out", writable=True))
        assert (status, len(text.split())) == (0, 3)
        assert os.listdir(tmp_path / "out") == ["su"]
        if os.geteuid() == 0:
            assert (tmp_path / "out" / "su").stat().st_uid != 0

    def test_an_image_with_a_root_of_its_own_is_read_only(self, run: Run, tmp_path: Path) -> None:
        """A root file system with nothing but what one static shell would need cannot be had everywhere: the machine's
        own libraries are copied into one.
        """
        source, folder = tmp_path / "source", tmp_path / "other"
        folder.mkdir()
        for name in ("bin", "srv", "etc"):
            (source / name).mkdir(parents=True)
        (source / "modelyard-image.json").write_text('{"Entrypoint": ["/bin/sh", "-c"]}')
        linked = subprocess.run(["ldd", "/bin/sh"], capture_output=True, text=True, check=True).stdout
        for path in ("/bin/sh", *(word for word in linked.split() if word.startswith("/"))):
            copy = source / path.lstrip("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(Path(path).read_bytes())
            copy.chmod(0o755)
        code = (
            "exec 2> /dev/null; echo /*; (echo x > /srv/x) || echo kept; echo x > /tmp/x && echo written;"
            "read host < /etc/hosts; echo $host"
        )
        status, text = run(code, image=add(source, folder)[0])
        assert status == 0, text
        roots = {"/bin", "/dev", "/etc", "/opt", "/proc", "/run", "/srv", "/tmp"}
        assert (
            roots
            <= set(next(line for line in text.splitlines() if line.startswith("/bin")).split())
            <= roots | {"/lib", "/lib64", "/modelyard-image.json", "/sys", "/usr"}
        )
        assert {"kept", "written", "127.0.0.1 localhost algo-1"} <= set(text.splitlines())
        assert list((folder / "rootfs" / "srv").iterdir()) == []


class TestRights:
    def test_it_has_none(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SECRET_OF_OURS", "ours")
        code = """
import ctypes, json, os
status = dict(line.rstrip("\\n").split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
def refused(work):
    try:
        work()
    except OSError:
        return True
    return False
libc = ctypes.CDLL(None, use_errno=True)
print(json.dumps({
    "caps": {status[name] for name in ("CapPrm", "CapEff", "CapInh", "CapBnd", "CapAmb")} == {"0" * 16},
    "privileges": status["NoNewPrivs"], "seccomp": status["Seccomp"], "ids": [os.getuid(), os.getgid(), os.getgroups()],
    "secret": any(b"SECRET_OF_OURS" in open(f"/proc/{pid}/environ", "rb").read()
                  for pid in ("self", "1") if os.access(f"/proc/{pid}/environ", os.R_OK)),
    "setuid": refused(lambda: os.setuid(0)), "setgid": refused(lambda: os.setgid(0)),
    "userns": libc.unshare(0x10000000), "mount": libc.mount(b"none", b"/tmp", b"tmpfs", 0, None),
    "keys": libc.syscall(250, 0, -4, 0, 0, 0),
    "processes": len([name for name in os.listdir("/proc") if name.isdigit()]) <= 4,
    "devices": sorted(set(os.listdir("/dev")) - {
        "core", "fd", "stdin", "stdout", "stderr", "ptmx", "pts", "shm", "mqueue",
        "null", "zero", "full", "random", "urandom", "tty", "console"}),
}))
"""
        status, text = run(code)
        assert status == 0, text
        told = json.loads(text)
        assert told["ids"][:2] == [65534, 65534]
        assert told["ids"][2] in ([], [65534])
        del told["ids"]
        assert told == {
            "caps": True,
            "privileges": "1",
            "seccomp": "2",
            "secret": False,
            "setuid": True,
            "setgid": True,
            "userns": -1,
            "mount": -1,
            "keys": -1,
            "processes": True,
            "devices": [],
        }


class TestLimits:
    def test_a_fork_bomb_stays_small(self, run: Run) -> None:
        code = """
import os, sys, time
children = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(600)
        children += 1
except OSError:
    print(children)
"""
        status, text = run(code, limits=Limits(memory=512 * MIB, cores=1, processes=40))
        assert status == 0
        assert 20 < int(text) <= 40

    @pytest.mark.parametrize("counted", [True, False], ids=["kernel", "watcher"])
    @pytest.mark.parametrize(
        "code",
        [
            "x = b'x' * (600 * 2**20)",
            "import os; [os.fork() for _ in range(3)]; x = b'x' * (60 * 2**20)",
            "open('/dev/shm/x', 'wb').write(b'x' * (90 * 2**20)); x = b'x' * (150 * 2**20)",
            "import os; d = os.memfd_create('x'); [os.write(d, b'x' * 2**20) for _ in range(300)]",
        ],
        ids=["one", "several", "files", "unnamed"],
    )
    def test_too_much_memory_kills_it(
        self, start: Start, monkeypatch: pytest.MonkeyPatch, code: str, counted: bool, by: str
    ) -> None:
        if not counted and by != "bubblewrap":
            pytest.skip("Podman always has the kernel count")
        if not counted:
            monkeypatch.setattr(Cgroup, "make", lambda *_: None)
        with start(f"{code}; import time; time.sleep(60)", memory=200 * MIB) as container:
            until(lambda: container.poll() is not None or (counted and container.memory_exceeded), 30)
            container.stop(0)
            assert container.memory_exceeded
            assert not container.disk_exceeded

    def test_pages_that_processes_share_count_once(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Cgroup, "make", lambda *_: None)
        code = """
import os, time
x = b"x" * (100 * 2**20)
children = [pid for pid in (os.fork() for _ in range(3)) if pid]
time.sleep(1)
print("done") if len(children) == 3 else None
"""
        status, text = run(code, memory=300 * MIB)
        assert (status, text) == (0, "done\n")

    @pytest.mark.parametrize(
        "code",
        [
            "[open(f'/opt/ml/out/{n}', 'wb').write(b'x' * 2**20) for n in range(40)]",
            "streams = [open('/opt/ml/out/x', 'wb') for _ in range(1)]; import os; os.remove('/opt/ml/out/x');"
            "[streams[0].write(b'x' * 2**20) or streams[0].flush() for _ in range(19)];"
            "y = open('/opt/ml/out/y', 'wb'); y.write(b'x' * (15 * 2**20)); y.flush()",
            "import os; os.makedirs('/opt/ml/out/d'); [open(f'/opt/ml/out/d/{n}', 'w').close() for n in range(9000)]",
        ],
        ids=["many", "removed", "empty"],
    )
    def test_too_much_written_kills_it(self, start: Start, tmp_path: Path, code: str) -> None:
        (tmp_path / "out").mkdir()
        binds = [Bind(tmp_path / "out", "/opt/ml/out", writable=True)]
        limits = Limits(memory=512 * MIB, cores=1, disk=20 * MIB)
        with start(f"{code}; import time; time.sleep(60)", binds, limits=limits) as container:
            assert container.wait(30) == 128 + 9
            assert container.disk_exceeded
            assert not container.memory_exceeded

    def test_a_single_file_cannot_be_larger(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        code = "open('/opt/ml/out/x', 'wb').write(b'x' * (30 * 2**20))"
        bind = Bind(tmp_path / "out", "/opt/ml/out", writable=True)
        status, _ = run(code, bind, limits=Limits(memory=512 * MIB, cores=1, disk=20 * MIB))
        assert status != 0
        assert (tmp_path / "out" / "x").stat().st_size <= 20 * MIB

    def test_its_cores_are_counted(self, run: Run) -> None:
        assert run("import os; print(len(os.sched_getaffinity(0)))") == (0, "1\n")
