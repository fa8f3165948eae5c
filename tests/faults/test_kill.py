"""Kill -9 of the started server under load: what was acknowledged is in the store afterwards, once."""

import os
import random
import time
from pathlib import Path

import pytest

from tests.fixtures.load import Load
from tests.fixtures.program import running_program
from tests.fixtures.stored import assert_all_there_once

KILLS = int(os.environ.get("AGENT_TRACER_KILLS", "10"))
SEED = int(os.environ.get("AGENT_TRACER_KILLS_SEED", "20261122"))
STARTING_SHARE = 0.3
"""Of the kills, those that hit a server which is only starting, with the last one's journal before it."""
STARTING_SECONDS = 4.0
LOADED_SECONDS = 2.0


@pytest.mark.timeout(180 + 60 * KILLS)
def test_everything_acknowledged_is_stored_once_after_random_kills(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    with running_program(tmp_path) as program:
        with Load(f"127.0.0.1:{program.otlp_grpc}", requests_max=5_000 + 1_000 * KILLS) as load:
            for _ in range(KILLS):
                load.wait_for_more(chance.randint(1, 300))
                time.sleep(chance.uniform(0, LOADED_SECONDS))  # the moment of the kill is the random input
                program.kill()
                if chance.random() < STARTING_SHARE:
                    program.launch()
                    time.sleep(chance.uniform(0, STARTING_SECONDS))
                    program.kill()
                program.start()
            load.wait_for_more(100)
        assert program.stop() == 0
        assert_all_there_once(load, program.folder / "data")
