"""Mutants of sound requests: each is taken or refused, none is lost, none takes the server down."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import grpc

from agent_tracer.server.domain.signals import Signal
from tests.faults.test_garbage import ANSWER_SECONDS, assert_balanced, metric, valid_request
from tests.fixtures.load import Load, export_calls
from tests.fixtures.program import running_program
from tests.fixtures.stored import stored


def mutated(payload: bytes, chance: random.Random) -> bytes:
    """The payload with some bytes changed, taken out, doubled or put in."""
    data = bytearray(payload)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data))
        match chance.randrange(4):
            case 0:
                data[at] = chance.randrange(256)
            case 1:
                del data[at : at + chance.randint(1, 5)]
            case 2:
                data[at:at] = data[at : at + chance.randint(1, 20)]
            case _:
                data[at:at] = chance.randbytes(chance.randint(1, 5))
        data = data or bytearray(b"\0")
    return bytes(data)


SEED: Final = 20261122
MUTANTS: Final = 400


def test_mutants_of_sound_requests_are_each_taken_or_refused_and_all_accounted_for(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    codes: dict[grpc.StatusCode, int] = {}
    lock = threading.Lock()
    with running_program(tmp_path) as program, Load(program.target, senders=1) as load:
        with grpc.insecure_channel(program.target) as channel, ThreadPoolExecutor(4) as several:
            calls = export_calls(channel)

            def send(work: tuple[Signal, bytes]) -> None:
                code = grpc.StatusCode.OK
                try:
                    calls[work[0]](work[1], timeout=ANSWER_SECONDS)
                except grpc.RpcError as error:
                    code = error.code()
                with lock:
                    codes[code] = codes.get(code, 0) + 1

            works = [(signal, mutated(valid_request(signal, 3), chance)) for signal in Signal for _ in range(MUTANTS)]
            list(several.map(send, works))
        load.wait_for_more(50)
        load.__exit__(None, None, None)
        assert codes.keys() <= {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT}, codes
        assert len(codes) == 2, "else the mutants are too tame or too wild"
        assert_balanced(program)
        accepted = {signal: metric(program, "stored", signal=signal.name.lower()) for signal in Signal}
        assert load.refused == {}
        assert program.stop() == 0
        found = stored(program.folder / "data")
        for signal in Signal:
            assert load.acknowledged[signal] - found.items[signal].keys() == set()
            assert sum(found.items[signal].values()) == accepted[signal]
    assert "Traceback" not in program.log
