"""Write the JSON Schemas that are shipped below ``aprqa_ci/data/schemas``.

python scripts/generate_schemas.py           write them
python scripts/generate_schemas.py --check   fail if a shipped one is not current
"""

import argparse
import sys
from pathlib import Path

from aprqa_ci.files import write_atomic
from aprqa_ci.schemas import SCHEMAS, schema_bytes

FOLDER = Path(__file__).resolve().parent.parent / "aprqa_ci" / "data" / "schemas"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Write the shipped JSON Schemas.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if one is old")
    check: bool = parser.parse_args(arguments).check
    wanted = {FOLDER / entry.file_name: schema_bytes(entry) for entry in SCHEMAS}
    old = [path for path, data in wanted.items() if not _is_current(path, data)]
    left_over = sorted(set(FOLDER.glob("*.schema.json")) - set(wanted))
    for path in old:
        print(f"{path.name}: {'not current' if check else 'written'}")
        if not check:
            write_atomic(path, wanted[path])
    for path in left_over:
        print(f"{path.name}: no model has this schema; remove the file")
    return 1 if left_over or (check and old) else 0


def _is_current(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
