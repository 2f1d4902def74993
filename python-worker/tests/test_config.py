"""Command line, then environment, then default."""

from __future__ import annotations

import pytest

from mlx_worker.config import read_config

PREFIX = "MLX_SERVING_WORKER_"


def test_the_defaults():
    config = read_config([], {})
    assert (config.host, config.port, config.metrics_port, config.model) == ("127.0.0.1", 50061, 9111, "tiny")
    assert config.worker_id


def test_the_environment_replaces_a_default_and_the_command_line_the_environment():
    environment = {PREFIX + "PORT": "1000", PREFIX + "MAX_QUEUE": "5", PREFIX + "WORKER_ID": "w"}
    config = read_config(["--port", "2000"], environment)
    assert (config.port, config.max_queue, config.worker_id) == (2000, 5, "w")


@pytest.mark.parametrize(
    ("arguments", "environment", "model"),
    [
        ([], {"MODEL": "m"}, "m"),
        ([], {"MODEL": "m", PREFIX + "MODEL": "w"}, "w"),
        (["--model", "c"], {"MODEL": "m", PREFIX + "MODEL": "w"}, "c"),
    ],
)
def test_the_model_is_taken_from_the_nearest_place(arguments, environment, model):
    assert read_config(arguments, environment).model == model


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["--port", "70000"], {}, "70000 is not between 0 and 65535"),
        (["--max-batch", "x"], {}, "invalid whole number value: 'x'"),
        ([], {PREFIX + "PORT": "x"}, "invalid whole number value: 'x'"),
        ([], {PREFIX + "LOG_LEVEL": "loud"}, "LOG_LEVEL must be one of debug"),
        (["--log-level", "loud"], {}, "invalid choice"),
    ],
)
def test_a_bad_value_is_named_and_ends_with_2(arguments, environment, message, capsys):
    with pytest.raises(SystemExit) as caught:
        read_config(arguments, environment)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as caught:
        read_config(["--help"], {})
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "--drain-timeout-ms" in text
    assert "MLX_SERVING_WORKER_<OPTION>" in text


def test_the_runtime_configuration_is_that_of_the_systems_folder_unless_it_is_named(tmp_path):
    (tmp_path / "runtime.yaml").write_text("")
    folder = {"MLX_SERVING_CONFIG_DIR": str(tmp_path)}
    assert read_config([], folder).runtime_config == str(tmp_path / "runtime.yaml")
    assert read_config(["--runtime-config", "x"], folder).runtime_config == "x"
    assert read_config([], {"MLX_SERVING_CONFIG_DIR": "/nonexistent"}).runtime_config == ""
