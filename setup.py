"""All about the package is in pyproject.toml. This adds a step to the building of wheels: the engine of web pages.

ONNX Runtime Web comes from the npm registry, at the version and with the digest in ``src/rung/export/engine.json``.
Where it cannot be had (no network, or an editable installation, which builds nothing), ``rung export --to web``
fetches it the first time instead.
"""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from urllib.request import urlopen

from setuptools import setup
from setuptools.command.build_py import build_py

ENGINE = Path(__file__).parent / "src" / "rung" / "export" / "engine.json"
SECONDS = 15  # without an answer


class BuildWithEngine(build_py):
    """Copies the modules, then puts the two files of the engine beside them."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        about = json.loads(ENGINE.read_text(encoding="utf-8"))
        try:
            with urlopen(about["url"], timeout=SECONDS) as answer:
                archive = answer.read()
        except OSError as error:
            self.warn(f"{about['url']} cannot be had ({error}); rung export --to web will fetch it when it is needed")
            return
        if hashlib.sha512(archive).hexdigest() != about["sha512"]:
            raise SystemExit(f"{about['url']} is not the file that was published; try again")
        folder = Path(self.build_lib) / "rung" / "export" / about["name"]
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(fileobj=io.BytesIO(archive)) as inside:
            for name in (about["script"], about["binary"]):
                stream = inside.extractfile(f"package/dist/{name}")
                assert stream is not None
                (folder / name).write_bytes(stream.read())


setup(cmdclass={"build_py": BuildWithEngine})
