"""The settings of the three stages."""

from __future__ import annotations

import pytest
from test_stages import ALL

from mlx_worker.accelerator import AcceleratorSettings, read_accelerator
from mlx_worker.engine.speculation import SpeculationSettings


def test_the_settings_are_those_of_the_file(tmp_path):
    path = tmp_path / "runtime.yaml"
    path.write_text(
        "ttft_accelerator:\n  enabled: true\n"
        "  speculation: {enabled: true, allowlist_only: false, min_confidence: 1, max_candidates: 3}\n"
        "  kv_prep: {enabled: false}\nother: 1\n"
    )
    settings = read_accelerator(path)
    assert settings.speculation == SpeculationSettings(
        allowlist_only=False, min_confidence=1, max_candidates=3
    )
    assert settings.warm_queue == AcceleratorSettings().warm_queue
    stages = settings.stages(ALL)
    assert (stages.warm_queue, stages.speculation, stages.kv_prep) == (True, True, False)
    path.write_text("ttft_accelerator: {enabled: false}")
    assert not any(vars(read_accelerator(path).stages(ALL)).values())


@pytest.mark.parametrize(
    "text", ["ttft_accelerator: 3", "[", "ttft_accelerator: {kv_prep: {enabled: 1}}", "- a"]
)
def test_a_wrong_file_is_refused(tmp_path, text):
    path = tmp_path / "runtime.yaml"
    path.write_text(text)
    with pytest.raises(ValueError):  # noqa: PT011  # its message differs from case to case
        read_accelerator(path)
