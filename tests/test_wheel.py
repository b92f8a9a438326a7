"""The package as it is installed: a wheel in an environment without the checkout, in an empty folder."""

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
# What the installed package says: in one process, since each imports for seconds.
LOOK = """
import json
from importlib.resources import files
import typer.testing
import hpsearch.prediction
from hpsearch.cli import app

hpsearch.prediction.PROBE_SECONDS = 0.02
commands = ["list studies", "show quickstart", "list spaces", "plan quickstart --configurations 1"]
said = {}
for command in commands:
    result = typer.testing.CliRunner().invoke(app, command.split())
    assert result.exit_code == 0, result.output
    said[command] = result.stdout
said["template"] = files("hpsearch.reporting").joinpath("templates/report.html").is_file()
print(json.dumps(said))
"""


def test_shipped_files_are_found_from_an_installed_wheel(tmp_path):
    wheels = tmp_path / "wheels"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps", "--quiet"]
    subprocess.run([*pip, "--wheel-dir", str(wheels), str(ROOT)], check=True, timeout=12000)
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

    said = json.loads(
        subprocess.run(
            [str(python), "-I", "-c", LOOK], cwd=empty, capture_output=True, text=True, check=True, timeout=1200
        ).stdout
    )
    assert "quickstart" in said["list studies"]
    assert str(environment) in said["show quickstart"]
    assert "fmsam" in said["list spaces"]
    assert "fsam" in said["plan quickstart --configurations 1"]
    assert said["template"]
