# SPDX-License-Identifier: Apache-2.0
"""Reads messages as `kcat -C -J` writes them, holds each to the schema of its type, and prints how many of each came.

Usage: validate.py FOLDER_OF_SCHEMAS FILE_OF_MESSAGES
"""

import json
import pathlib
import sys
from collections import Counter

import jsonschema

folder = pathlib.Path(sys.argv[1])
validators = {}
came = Counter()
for line in pathlib.Path(sys.argv[2]).read_text().splitlines():
    message = json.loads(line)
    event = json.loads(message["payload"])
    kind = event["type"]
    if kind not in validators:
        schema = json.loads((folder / f"{kind}.schema.json").read_text())
        validators[kind] = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    validators[kind].validate(event)
    headers = dict(zip(message["headers"][::2], message["headers"][1::2]))
    expected = {
        "content-type": "application/cloudevents+json; charset=UTF-8",
        "ce_type": kind,
        "ce_id": event["id"],
        "ce_source": event["source"],
    }
    if headers != expected:
        sys.exit(f"expected the headers {expected}, got {headers}")
    if not message["key"]:
        sys.exit(f"expected a key, got none: {message}")
    came[(message["topic"], kind)] += 1

for (topic, kind), count in sorted(came.items()):
    print(topic, kind, count)
