//! The roster's rules one by one.

use super::*;

#[test]
fn one_load_serves_all_who_wait_and_a_larger_context_serves_smaller_ones() {
    let mut house = House::new(1000, None);
    let tickets = [house.acquire(demand(0, 500)), house.acquire(demand(0, 500))];
    house.loaded();
    assert!(tickets.iter().all(|&ticket| house.machine.admitted(ticket).is_some()));
    assert_eq!(house.machine.n_loads, 1);
    // The larger one is loaded beside; meanwhile the smaller one continues.
    let large = house.acquire(demand(0, 2000));
    let small = house.acquire(demand(0, 500));
    assert_eq!(house.machine.admitted(small), house.machine.admitted(tickets[0]));
    house.loaded();
    let small = house.acquire(demand(0, 500));
    assert_eq!(house.machine.admitted(small), house.machine.admitted(large));
    // The smaller one goes with its last lease.
    assert_eq!(house.machine.engines.len(), 2);
    for ticket in [tickets[0], tickets[1], small - 1] {
        house.leave(ticket);
    }
    house.gone();
    assert_eq!((house.machine.engines.len(), house.machine.n_loads), (1, 2));
}

#[test]
fn two_sizes_of_context_that_alternate_load_twice_at_most() {
    // There is room for one engine only.
    let mut house = House::new(35, None);
    for _ in 0..10 {
        for n_ctx in [500, 2000] {
            let ticket = house.acquire_loaded(demand(0, n_ctx));
            house.leave(ticket);
        }
    }
    assert_eq!(house.machine.n_loads, 2);
    // Those who wait together load once, for the largest of them.
    let mut house = House::new(35, None);
    let other = house.acquire_loaded(demand(1, 2000));
    let tickets = [house.acquire(demand(0, 500)), house.acquire(demand(0, 2000))];
    house.leave(other);
    house.gone();
    house.loaded();
    assert!(tickets.iter().all(|&ticket| house.machine.admitted(ticket).is_some()));
    assert_eq!(house.machine.n_loads, 2);
}

#[test]
fn the_least_recently_used_goes_first_and_only_as_many_as_must() {
    // Four engines of 15 bytes.
    let mut house = House::new(60, None);
    for base in 0..4 {
        let ticket = house.acquire_loaded(demand(base, 500));
        house.leave(ticket);
        house.pass(Duration::from_secs(1));
    }
    let again = house.acquire_loaded(demand(0, 500));
    house.leave(again);
    house.acquire_loaded(demand(4, 500));
    let loaded = |house: &House| {
        let mut ids: Vec<_> = house.roster.engines.iter().map(|entry| entry.base.weights_id.clone()).collect();
        ids.sort();
        ids
    };
    assert_eq!(loaded(&house), ["base0", "base2", "base3", "base4"]);
    assert_eq!(house.roster.counters().evicted, 1);
    // Who answers stays, however long ago it was asked.
    house.pass(Duration::from_secs(1));
    for base in [2, 3] {
        let ticket = house.acquire(demand(base, 500));
        house.leave(ticket);
    }
    house.acquire_loaded(demand(5, 500));
    assert_eq!(loaded(&house), ["base2", "base3", "base4", "base5"]);
}

#[test]
fn what_is_in_the_way_gives_way_after_a_while_and_has_its_turn_again() {
    let mut house = House::new(20, None);
    let old = house.acquire_loaded(demand(0, 500));
    house.pass(PATIENCE);
    let other = house.acquire(demand(1, 500));
    house.pass(PATIENCE - Duration::from_millis(1));
    // Until then nobody is stopped for the other's sake.
    let second = house.acquire(demand(0, 500));
    assert!(house.machine.admitted(second).is_some());
    house.pass(Duration::from_millis(1));
    let third = house.acquire(demand(0, 500));
    assert_eq!(house.machine.admitted(third), None);
    house.leave(old);
    house.leave(second);
    house.gone();
    house.pass(Duration::from_secs(20));
    house.loaded();
    assert!(house.machine.admitted(other).is_some());
    // A load of 20 seconds is followed by a turn of 20 seconds.
    house.pass(Duration::from_secs(19));
    let more = house.acquire(demand(1, 500));
    assert!(house.machine.admitted(more).is_some());
    house.pass(Duration::from_secs(1));
    let late = house.acquire(demand(1, 500));
    assert_eq!(house.machine.admitted(late), None);
    house.leave(other);
    house.leave(more);
    house.gone();
    house.loaded();
    assert!(house.machine.admitted(third).is_some());
}

#[test]
fn a_door_opens_again_when_nobody_waits_for_it_any_more() {
    let mut house = House::new(20, None);
    house.acquire_loaded(demand(0, 500));
    let other = house.acquire(demand(1, 500));
    house.pass(PATIENCE * 2);
    let shut_out = house.acquire(demand(0, 500));
    assert_eq!(house.machine.admitted(shut_out), None);
    house.roster.withdraw(Ticket(other), &mut house.machine);
    assert!(house.machine.admitted(shut_out).is_some());
}

#[test]
fn a_load_that_nobody_waits_for_is_cancelled() {
    let mut house = House::new(100, None);
    let tickets = [house.acquire(demand(0, 500)), house.acquire(demand(0, 500))];
    house.roster.withdraw(Ticket(tickets[0]), &mut house.machine);
    assert_eq!(house.machine.having(Life::Loading).len(), 1);
    house.roster.withdraw(Ticket(tickets[1]), &mut house.machine);
    assert_eq!(house.machine.having(Life::Loading).len(), 0);
    house.gone();
    assert!(house.roster.is_empty());
    assert_eq!(house.roster.counters().loads_cancelled, 1);
}

#[test]
fn a_failed_load_is_told_to_all_who_waited_and_tried_again_for_the_next() {
    let mut house = House::new(100, None);
    let tickets = [house.acquire(demand(0, 500)), house.acquire(demand(0, 500))];
    house.failed(&damaged());
    assert!(tickets.iter().all(|&ticket| house.machine.outcomes[&Ticket(ticket)] == Outcome::Failed));
    house.acquire_loaded(demand(0, 500));
}

#[test]
fn where_the_estimate_was_too_low_idle_engines_go_one_by_one() {
    let mut house = House::new(100, None);
    for base in 0..2 {
        let ticket = house.acquire_loaded(demand(base, 500));
        house.leave(ticket);
    }
    let ticket = house.acquire(demand(2, 500));
    for n_left in [1, 0] {
        house.failed(&too_little_memory());
        house.gone();
        assert_eq!(house.machine.having(Life::Ready).len(), n_left);
    }
    // Alone, it has all that there is.
    house.failed(&too_little_memory());
    assert_eq!(house.machine.outcomes[&Ticket(ticket)], Outcome::Failed);
    assert_eq!(house.roster.counters().load_failures, 3);
}

#[test]
fn what_does_not_fit_alone_is_refused_with_both_numbers() {
    let mut house = House::new(50, None);
    house.acquire_loaded(demand(0, 500));
    let ticket = house.acquire(demand(1, 9000));
    assert_eq!(house.machine.outcomes[&Ticket(ticket)], Outcome::TooLarge { need: 100, room: 50 });
    // One that lacks room for its second lane only is loaded, alone.
    let tight = Demand { need: Need { least: 40, likely: 70 }, ..demand(1, 500) };
    let ticket = house.acquire(tight);
    house.leave(0);
    house.gone();
    assert_eq!((house.machine.having(Life::Loading).len(), house.waiting()), (1, vec![ticket]));
}

#[test]
fn models_of_one_base_have_their_own_keep_alive() {
    let mut house = House::new(100, None);
    let of = |name: &str, keep_alive| Demand { tenant: tenant(name), keep_alive, ..demand(0, 500) };
    let seconds = |n| Some(KeepAlive::For(Duration::from_secs(n)));
    let tickets = [("at-once", seconds(0)), ("soon", seconds(10)), ("default", None)]
        .map(|(name, keep_alive)| house.acquire_loaded(of(name, keep_alive)));
    assert_eq!(house.machine.n_loads, 1);
    tickets.into_iter().for_each(|ticket| house.leave(ticket));
    let names = |house: &House| -> Vec<String> {
        house
            .roster
            .engines
            .iter()
            .flat_map(|entry| &entry.uses)
            .map(|used| used.tenant.name.model().to_owned())
            .collect()
    };
    assert_eq!(names(&house), ["soon", "default"]);
    house.pass(Duration::from_secs(10));
    assert_eq!(names(&house), ["default"]);
    // What was said once holds for those who say nothing.
    let ticket = house.acquire(of("default", Some(KeepAlive::Forever)));
    house.leave(ticket);
    let ticket = house.acquire(of("default", None));
    house.leave(ticket);
    house.pass(KEEP_ALIVE * 100);
    assert_eq!(names(&house), ["default"]);
    assert_eq!(house.roster.unload(|tenant| tenant.name.model() == "soon", &mut house.machine), None);
    assert_eq!(house.roster.unload(|tenant| tenant.name.model() == "default", &mut house.machine), Some(0));
    house.gone();
    assert!(house.roster.is_empty());
}

#[test]
fn what_is_stopped_answers_to_its_end_and_is_loaded_anew_for_the_next() {
    let mut house = House::new(100, None);
    let first = house.acquire_loaded(demand(0, 500));
    assert_eq!(house.roster.unload(|_| true, &mut house.machine), Some(1));
    let next = house.acquire_loaded(demand(0, 500));
    assert_ne!(house.machine.admitted(next), house.machine.admitted(first));
    house.leave(first);
    house.gone();
    assert_eq!((house.machine.engines.len(), house.machine.n_loads), (1, 2));
}

#[test]
fn a_dead_engine_is_never_given_to_anybody() {
    for noticed in [true, false] {
        let mut house = House::new(100, None);
        let first = house.acquire_loaded(demand(0, 500));
        let died = house.machine.admitted(first).unwrap();
        house.machine.engines.get_mut(&died).unwrap().life = Life::Dead;
        if noticed {
            house.roster.died(died, &mut house.machine);
        }
        let next = house.acquire_loaded(demand(0, 500));
        assert_ne!(house.machine.admitted(next), Some(died));
        // The holder of the first lease finds out by itself, and gives it back.
        house.leave(first);
        let counters = house.roster.counters();
        assert_eq!((counters.crashes, counters.restarts, counters.loads), (1, 1, 2));
    }
}
