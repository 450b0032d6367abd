"""Says what is wrong with a bill of materials in CycloneDX's JSON, by its schema; nothing if that is nothing."""

import json
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from jsonschema import Draft7Validator

# The schema wants entries to be unique. The library compares each of 350 with each other, which takes long; here they
# are told apart by their names.
del Draft7Validator.VALIDATORS["uniqueItems"]

with open(sys.argv[1], encoding="utf-8") as file:
    text = file.read()
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
if error is not None:
    sys.exit(str(error))
bill = json.loads(text)
for name, key in {"components": "bom-ref", "dependencies": "ref"}.items():
    names = [entry[key] for entry in bill[name]]
    if len(set(names)) != len(names):
        sys.exit(f"{name}: one is there twice")
