"""The package as it is installed: a wheel in an environment without the checkout, in an empty folder."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_shipped_files_are_found_from_an_installed_wheel(tmp_path):
    wheels = tmp_path / "wheels"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps", "--quiet"]
    subprocess.run([*pip, "--wheel-dir", str(wheels), str(ROOT)], check=True, timeout=300)
    (wheel,) = wheels.glob("hpsearch-*.whl")

    environment = tmp_path / "env"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(environment)}))
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "install",
            "--no-deps",
            "--quiet",
            "--target",
            site,
            wheel,
        ],
        check=True,
    )
    # The dependencies are borrowed; .pth files of a borrowed folder are not read, so the checkout stays out.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    empty = tmp_path / "empty"
    empty.mkdir()

    def hpsearch(*arguments):
        command = [str(python), "-m", "hpsearch.cli", *arguments]
        return subprocess.run(command, cwd=empty, capture_output=True, text=True, check=True, timeout=120).stdout

    assert "quickstart" in hpsearch("list", "studies")
    assert str(environment) in hpsearch("show", "quickstart")
    assert "fmsam" in hpsearch("list", "spaces")
    assert "fsam" in hpsearch("plan", "quickstart", "--configurations", "1")
    code = (
        "from importlib.resources import files; print(files('hpsearch.reporting').joinpath('template.html').is_file())"
    )
    assert subprocess.run([str(python), "-c", code], cwd=empty, capture_output=True, text=True).stdout.strip() == "True"
