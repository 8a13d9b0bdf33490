"""The centre goes back to an older backup, lives on, and then to a newer one of before."""

from __future__ import annotations

import pytest

from tests.sim.story import Story, lab, play
from tests.sim.test_restores_in_a_row import add_part, retitle, titles

__all__ = ["lab", "play"]
pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]


async def two_backups(s: Story, busy: int) -> None:
    """Take a backup, have the centre write on, and take another one."""
    await s.world.centre_is_backed_up()
    for k in range(busy):
        await s.plan(2, note=f"of both {k}")
    await s.back_up()


async def go_to(s: Story, place: int) -> None:
    """Restore the older backup, or the newer one."""
    kept = [*s.world.backups, *s.world.newer]
    s.world.backups, s.world.newer = [kept[place]], []
    await s.restore()
    s.world.backups = kept


async def go_on(s: Story, life: str) -> None:
    """Have the server that was gone to be one that never stopped, in the life that it had."""
    await s.world.database.rows(
        "UPDATE sync.life_now SET life = %s, started_at = pg_postmaster_start_time() RETURNING 1",
        life,
    )
    await s.world.database.rows(
        "DELETE FROM sync.life WHERE no > (SELECT no FROM sync.life WHERE id = %s) RETURNING 1",
        life,
    )


async def life_of(s: Story) -> str:
    ((life,),) = await s.world.database.rows("SELECT life FROM sync.life_now")
    return str(life)


@pytest.mark.parametrize("busy", [0, 12])
def test_what_was_written_between_comes_home(play, busy):
    async def story(s: Story) -> None:
        s.order(1)
        s.order(2)
        await s.rest()
        await two_backups(s, busy)
        await go_to(s, 0)
        await s.rest()
        await s.plan(1, note="between")
        s.change(1, shelf="between")
        await s.rest()
        await go_to(s, 1)
        await s.rest()
        assert await s.both(1, "note", "shelf") == ("between", "between")

    play(story)


def test_what_all_share_and_what_is_on_record_come_home(play):
    async def story(s: Story) -> None:
        await add_part(s, 7, "P")
        s.order(1)
        s.order(2)
        await s.rest()
        await two_backups(s, 12)
        await go_to(s, 0)
        await s.rest()
        await retitle(s, "between")
        await s.plan(1, due="of the centre")
        s.change(1, due="of the site")
        await s.rest()
        told = await s.conflicts()
        assert len(told) == 1
        await go_to(s, 1)
        await s.rest()
        assert await titles(s) == {"between"}
        assert await s.conflicts() == told

    play(story)


def test_what_the_newer_backup_alone_has_is_kept_beside_what_was_written_between(play):
    async def story(s: Story) -> None:
        s.order(1)
        s.order(2)
        await s.back_up()
        await s.plan(1, note="before the restore")
        for k in range(12):
            await s.plan(2, note=f"of both {k}")
        await s.world.centre_is_backed_up()  # and no site has heard of it
        await go_to(s, 0)
        await s.rest()
        await s.plan(1, note="between")
        await s.rest()
        await go_to(s, 1)
        await s.rest()
        stands = await s.both(1, "note")
        kept = str(await s.conflicts())
        assert stands == ("between",)
        assert "before the restore" in kept

    play(story)


@pytest.mark.parametrize("loaded", [False, True])
def test_it_goes_forward_once_more_before_or_after_the_sites_have_loaded_its_state(play, loaded):
    async def story(s: Story) -> None:
        s.order(1)
        s.order(2)
        await s.rest()
        await two_backups(s, 12)
        await go_to(s, 0)
        await s.rest()
        await s.plan(1, note="between")
        s.change(1, shelf="between")
        await s.rest()
        await go_to(s, 1)
        await s.step("hello")
        if loaded:
            await s.rest()
            s.change(1, made=3)
            await s.rest()
        await go_to(s, 1)
        await s.rest()
        assert await s.both(1, "note", "shelf", "made") == ("between", "between", 3 * loaded)

    play(story)


def test_a_server_that_another_took_the_place_of_for_a_while_gets_what_that_one_decided(play):
    """Failing back to a primary that was never stopped."""

    async def story(s: Story) -> None:
        s.order(1)
        await s.rest()
        await s.plan(1, note="of both")
        await s.back_up()
        life = await life_of(s)
        await go_to(s, 0)
        await s.rest()
        await s.plan(1, note="of the other server")
        await s.rest()
        await go_to(s, 0)
        await go_on(s, life)
        await s.rest()
        assert await s.both(1, "note") == ("of the other server",)
        assert await s.conflicts() == []

    play(story)


@pytest.mark.parametrize("between", [False, True])
def test_two_servers_may_take_turns_though_none_of_them_is_stopped(play, between):
    async def story(s: Story) -> None:
        s.order(1)
        await s.rest()
        await s.plan(1, note="of both")
        await s.back_up()
        first = await life_of(s)
        await go_to(s, 0)
        await s.rest()
        await s.plan(1, note="of the second")
        await s.back_up()
        second = await life_of(s)
        kept = [*s.world.backups, *s.world.newer]
        await go_to(s, 0)
        await go_on(s, first)
        await s.rest()
        if between:
            await s.plan(1, note="of the first again")
            await s.rest()
        stood = await s.both(1, "note")
        s.world.backups, s.world.newer, s.world.centre_restores = kept, [], 0
        await go_to(s, 1)
        await go_on(s, second)
        await s.rest()
        assert await s.welcome() == "ok"
        told = str(await s.conflicts())
        assert await s.both(1, "note") == stood or stood[0] in told

    play(story)
