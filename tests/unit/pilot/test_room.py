"""A pilot's cores, processors and memory: what is given is nobody else's until it comes back."""

from __future__ import annotations

import random

from crh_batch.pilot.room import Place, Room

MB = 1 << 20


def test_take_when_cores_are_free_then_they_are_counted() -> None:
    room = Room(4)
    one = room.take(1, 0)
    room.take(3, 0)
    assert not room.fits(1, 0)
    room.give_back(one)
    assert room.fits(1, 0)
    assert not room.fits(2, 0)


def test_take_when_more_are_wanted_than_there_are_then_all_are_given() -> None:
    """A pilot with two cores runs a tomodir that was planned for five."""
    room = Room(2, 100 * MB)
    assert room.fits(5, 300 * MB)
    place = room.take(5, 300 * MB)
    assert (place.cores, place.memory_bytes) == (2, 100 * MB)
    assert not room.fits(1, 1)
    room.give_back(place)
    assert (room.free_cores, room.free_bytes) == (2, 100 * MB)


def test_fits_when_cores_are_free_and_memory_is_not_then_no() -> None:
    room = Room(8, 1000 * MB)
    room.take(1, 700 * MB)
    assert not room.fits(1, 301 * MB)
    assert room.fits(1, 300 * MB)


def test_fits_when_the_memory_is_not_known_then_it_is_no_obstacle() -> None:
    room = Room(2)
    room.take(1, 1 << 50)
    assert room.fits(1, 1 << 50)


def test_take_when_processors_are_as_many_as_cores_then_each_is_dealt_to_one() -> None:
    room = Room(8, 0, range(8))
    wide = room.take(4, 0)
    narrow = [room.take(1, 0) for _ in range(4)]
    assert wide.processors == (0, 1, 2, 3)
    assert [one.processors for one in narrow] == [(4,), (5,), (6,), (7,)]
    room.give_back(wide)
    room.give_back(narrow[0])
    assert room.take(3, 0).processors == (0, 1, 2)


def test_take_when_there_are_neighbours_then_those() -> None:
    room = Room(6, 0, (0, 1, 8, 9, 10, 11))
    first = room.take(1, 0)
    assert room.take(4, 0).processors == (8, 9, 10, 11)
    room.give_back(first)
    assert room.take(2, 0).processors == (0, 1)


def test_take_when_processors_are_more_or_fewer_than_cores_then_the_kernel_chooses() -> None:
    """More: other pilots use them too, and two that begin with the first would share it. Fewer: they don't suffice."""
    assert Room(2, 0, range(8)).take(1, 0).processors == ()
    assert Room(8, 0, range(2)).take(1, 0).processors == ()


def test_take_when_many_come_and_go_then_processors_are_disjoint_and_all_come_back() -> None:
    chance = random.Random(7)
    room = Room(16, 4000 * MB, range(100, 116))
    places: list[Place] = []
    for _ in range(2000):
        cores, memory = chance.choice((1, 2, 3, 5)), chance.randrange(900) * MB
        if room.fits(cores, memory) and chance.random() < 0.7:
            places.append(room.take(cores, memory))
        elif places:
            room.give_back(places.pop(chance.randrange(len(places))))
        dealt = [number for place in places for number in place.processors]
        assert len(dealt) == len(set(dealt)) == sum(place.cores for place in places) == 16 - room.free_cores
        assert sum(place.memory_bytes for place in places) + room.free_bytes == 4000 * MB
    for place in places:
        room.give_back(place)
    assert room.take(16, 0).processors == tuple(range(100, 116))
