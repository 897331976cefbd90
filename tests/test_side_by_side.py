import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchbed.errors import DataError
from benchbed.side_by_side import KILLED, Piece, run_pieces, worker_pool


def threads(pieces, work, processes=2):
    return list(run_pieces(pieces, work, processes, pool=ThreadPoolExecutor))


def test_pieces_begin_in_the_given_order_once_what_they_need_is_done():
    begun = []
    pieces = [Piece("c", "c", ("b",)), Piece("a", "a"), Piece("b", "b", ("a",)), Piece("d", "d")]
    ended = threads(pieces, lambda item: begun.append(item) or item.upper(), processes=1)
    assert begun == ["a", "b", "c", "d"]
    assert [(end.piece.key, end.result) for end in ended] == [(k, k.upper()) for k in begun]


def test_a_need_that_is_no_piece_is_taken_for_done():
    (end,) = threads([Piece("a", 1, ("elsewhere",))], lambda item: item + 1)
    assert end.result == 2


def test_what_needs_a_failed_piece_is_not_begun_and_the_rest_is_done():
    begun = []

    def work(item):
        begun.append(item)
        if item == "bad":
            raise DataError("broken")
        return item

    pieces = [Piece("bad", "bad"), Piece("x", "x", ("bad",)), Piece("y", "y", ("x",)),
              Piece("good", "good")]  # fmt: skip
    ended = {end.piece.key: end for end in threads(pieces, work)}
    assert sorted(begun) == ["bad", "good"]
    assert str(ended["bad"].error) == "broken"
    assert (ended["x"].blocked_by, ended["y"].blocked_by) == ("bad", "bad")
    assert ended["good"].result == "good"


def test_no_more_than_the_asked_number_run_at_a_time():
    lock, now, most = threading.Lock(), [0], [0]

    def work(item):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1

    threads([Piece(str(i), i) for i in range(9)], work, processes=3)
    assert most == [3]


def test_a_circle_and_a_key_twice_are_refused():
    with pytest.raises(ValueError, match="need one another"):
        threads([Piece("a", 1, ("b",)), Piece("b", 2, ("a",))], str)
    with pytest.raises(ValueError, match="share a key"):
        threads([Piece("a", 1), Piece("a", 2)], str)


def test_a_killed_process_costs_its_own_piece_only():
    commands = {"good": "true", "dies": f"kill -{signal.SIGKILL} $PPID", "other": "sleep 0.3"}
    pieces = [Piece(name, text) for name, text in commands.items()]
    ended = {end.piece.key: end for end in run_pieces(pieces, os.system, 2)}
    assert ended["dies"].killed
    assert str(ended["dies"].error) == KILLED
    assert (ended["good"].result, ended["other"].result) == (0, 0)


def test_each_process_sees_its_own_gpus(tmp_path):
    tell = f"echo $CUDA_VISIBLE_DEVICES > {tmp_path}/$PPID; sleep 1"
    with worker_pool(2, gpu_shares=("4,5", "6,7")) as pool:
        assert [f.result() for f in [pool.submit(os.system, tell) for _ in range(2)]] == [0, 0]
    assert {path.read_text().strip() for path in tmp_path.iterdir()} == {"4,5", "6,7"}
