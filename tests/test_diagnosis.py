"""`activity doctor`: what works and what does not, with a fix."""

import json

from activity_cli.features.action_weights import FILE_NAME
from tests.workplace import Workplace


def test_doctor_tells_what_works_and_how_to_fix_what_does_not(workplace: Workplace) -> None:
    weights, cache = workplace.folder / "weights", workplace.folder / "cache"
    weights.mkdir()
    (weights / FILE_NAME).write_bytes(b"another file")
    cache.write_text("a file where the cache folder should be", encoding="utf-8")
    broken = Workplace(workplace.folder, cache)
    broken.environment["ACTIVITY_WEIGHTS"] = str(weights)

    printed = json.loads(broken.run("doctor", "--json", code=1).stdout)

    found = {(one["topic"], one["name"]): one for one in printed["findings"]}
    levels = {one: finding["level"] for one, finding in found.items()}
    assert "fp32" in found["Engines", "openvino"]["value"]
    assert "H.264 by OpenCV" in found["Video", "decoders"]["value"]
    assert "surveillance-fight" in found["Weights", "models"]["value"]
    assert levels["Folders", "this folder"] == "ok"
    # What is broken, and nothing else
    errors = [one for one, level in levels.items() if level == "error"]
    assert errors == [("Weights", "action network"), ("Folders", "cache")]
    assert printed["num_errors"] == 2
    assert "activity models pull movinet_a0" in found["Weights", "action network"]["fix"]
    assert "ACTIVITY_CACHE_DIR" in found["Folders", "cache"]["fix"]
