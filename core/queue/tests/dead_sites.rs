//! Dead sites do not delay living ones: the simulation of the example, smaller.

#[path = "../examples/dead_sites.rs"]
mod dead_sites;

use dead_sites::{Scene, simulate};

#[test]
fn the_dead_do_not_delay_the_living() {
    // 40 dead sites of 400, for longer than a dial takes to fail.
    same(Scene { messages: 12_000, sites: 400, rate: 300, with_dead: false }, 40);
}

#[test]
fn nor_do_many_of_them() {
    // Nearly every message is the first one for its site: at five connections each, the dead ones among them could hold all there are.
    same(Scene { messages: 4_000, sites: 4_000, rate: 400, with_dead: false }, 0);
}

fn same(scene: Scene, in_vain: u64) {
    let without = simulate(scene);
    let with = simulate(Scene { with_dead: true, ..scene });
    assert!(with.in_vain >= in_vain, "{with:?}");
    assert_eq!((with.p50, with.p99, with.max, with.delivered), (without.p50, without.p99, without.max, without.delivered));
}
