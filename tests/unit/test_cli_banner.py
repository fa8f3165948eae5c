"""What `start` prints once every port answers."""

import asyncio

import pytest

from agent_tracer.server.app import Started
from agent_tracer.server.cli.banner import show_banner
from agent_tracer.server.config import load_settings


async def test_where_telemetry_goes_is_told_without_the_password(capsys: pytest.CaptureFixture[str]) -> None:
    endpoint = "http://me:s3 cr@t2@127.0.0.1:14318/otlp?s3cret"
    settings = load_settings(flags={"exporters.loki.enabled": True, "exporters.loki.endpoint": endpoint})
    failure = asyncio.get_running_loop().create_future()

    show_banner(Started(settings, ["tracer"], [], 0.1, failure))

    shown = capsys.readouterr().out
    assert "http://***@127.0.0.1:14318/otlp?***" in shown
    assert "s3" not in shown
