"""Generate the checked-in protobuf modules from proto/*.proto.

`python proto/generate.py` writes them; `--check` compares instead and exits 1
when a checked-in module is out of date. `make proto` calls the former, the test
suite the latter.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
NAMESPACE = "sparkplug_zerobus"
HEADER = "# Generated from proto/{source} by `make proto`. Do not edit.\n"

# Which package owns which schema. `zerobus_local` stands alone, so it has its own.
TARGETS = {
    "sparkplug_b.proto": "sparkplug/pb",
    "sparkplug_b_columns.proto": "sparkplug/pb",
    "sparkplug_b_head.proto": "sparkplug/pb",
    "sparkplug_event.proto": "consumer/pb",
    "tag_event.proto": "consumer/pb",
    "tag_metadata.proto": "consumer/pb",
    "zerobus_service.proto": "zerobus_local/pb",
}


def generate(source: str) -> dict[str, str]:
    """Compile one schema in a temporary directory; file name -> text of each module.

    The schemas are compiled under a directory of the project's name, because protobuf
    registers them process-wide by path: other Sparkplug libraries have a sparkplug_b.proto.
    """
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        (root / NAMESPACE).mkdir()
        shutil.copy(ROOT / "proto" / source, root / NAMESPACE / source)
        output = root / "generated"
        output.mkdir()
        arguments = [
            "protoc",
            f"--proto_path={root}",
            f"--proto_path={resources.files('grpc_tools') / '_proto'}",
            f"--python_out={output}",
            f"--pyi_out={output}",
            f"{NAMESPACE}/{source}",
        ]
        if protoc.main(arguments) != 0:
            sys.exit(f"protoc failed on proto/{source}")
        return {
            path.name: HEADER.format(source=source) + path.read_text(encoding="utf-8")
            for path in sorted((output / NAMESPACE).iterdir())
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    stale: list[str] = []
    for source, package in TARGETS.items():
        for name, text in generate(source).items():
            target = ROOT / package / name
            if check:
                if not target.exists() or target.read_text(encoding="utf-8") != text:
                    stale.append(str(target.relative_to(ROOT)))
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            print(f"wrote {target.relative_to(ROOT)}")
    if stale:
        print(f"out of date, run `make proto`: {', '.join(stale)}", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
