//! Rankings and selections of small manifests, and their laws on random ones.

use proptest::prelude::*;

use super::*;
use crate::manifest::{Manifest, RankingOptions};

/// A manifest of groups (name, score); a score of `None` makes the group NONE-only.
fn manifest(groups: &[(&str, Option<f64>)]) -> Manifest {
    let entries: Vec<String> = groups
        .iter()
        .map(|(name, score)| {
            let (formats, scores, costs) = match score {
                Some(score) => {
                    let score = match score {
                        s if s.is_nan() => "NaN".to_string(),
                        s if s.is_infinite() => if *s > 0.0 { "Infinity" } else { "-Infinity" }.to_string(),
                        s => s.to_string(),
                    };
                    (
                        r#""FP8(effective-bits: 8.0)", "NONE(effective-bits: 16.0)""#,
                        format!("{score}, 0.0"),
                        "1.0, 2.0",
                    )
                }
                None => (r#""NONE(effective-bits: 16.0)""#, "0.0".to_string(), "2.0"),
            };
            format!(
                r#""{name}.quant_recipe": {{"formats": [{formats}], "scores": [{scores}], "costs": [{costs}]}}"#
            )
        })
        .collect();
    let text = format!(
        r#"{{"layers": {{"l.0.q_proj": 1, "l.0.k_proj": 1}}, "layer_sensitivity": {{{}}}}}"#,
        entries.join(",")
    );
    Manifest::parse("m.json", text).unwrap()
}

fn names(ranking: &Ranking) -> Vec<&str> {
    ranking.groups().map(|g| g.name.as_str()).collect()
}

fn descending() -> RankingOptions<'static> {
    RankingOptions { order: Order::Descending, ..Default::default() }
}

fn globs(patterns: &[&str]) -> Globs {
    Globs::new(patterns).unwrap()
}

#[test]
fn ties_keep_model_order_in_both_directions() {
    let m = manifest(&[("c", Some(2.0)), ("a", Some(1.0)), ("b", Some(1.0)), ("d", Some(2.0))]);
    let up = m.ranking(&RankingOptions::default()).unwrap();
    assert_eq!(names(&up), ["a", "b", "c", "d"]);
    let down = m.ranking(&descending()).unwrap();
    assert_eq!(names(&down), ["c", "d", "a", "b"]);
    assert_eq!((up.len(), up.is_empty(), up.get(1).unwrap().name.as_str()), (4, false, "b"));
    assert!(up.get(4).is_none());
}

#[test]
fn the_lowest_are_the_same_groups_in_either_order() {
    let m = manifest(&[("c", Some(2.0)), ("a", Some(1.0)), ("b", Some(1.0)), ("d", Some(3.0))]);
    let up = m.ranking(&RankingOptions::default()).unwrap();
    let down = m.ranking(&descending()).unwrap();
    let selection = up.lowest(50.0).unwrap();
    assert_eq!((selection.selected_names(), selection.dropped_names()), (vec!["a", "b"], vec!["c", "d"]));
    assert_eq!(down.lowest(75.0).unwrap().selected_names(), ["c", "a", "b"]);
    assert_eq!(up.lowest(75.0).unwrap().selected_names(), ["a", "b", "c"]);
    assert_eq!(up.highest("25").unwrap().selected_names(), ["d"]);
    assert_eq!(up.first(Percent::FULL).unwrap().selected_names(), ["a", "b", "c", "d"]);
    assert_eq!(down.first(25.0).unwrap().selected_names(), ["d"]);
    assert_eq!(
        (selection.total, selection.order, selection.percent.to_string()),
        (4, Order::Ascending, "50".into())
    );
    assert_eq!(up.lowest(0.0).unwrap_err().kind(), "argument");
}

#[test]
fn disabled_and_unscored_groups_are_left_out_and_listed() {
    let m = manifest(&[("none", None), ("zero", Some(0.0)), ("b", Some(2.0)), ("a", Some(1.0))]);
    let ranking = m.ranking(&RankingOptions::default()).unwrap();
    assert_eq!(names(&ranking), ["a", "b"]);
    assert_eq!(
        (&ranking.unscored[..], &ranking.not_candidates[..]),
        (&["zero".into()][..], &["none".into()][..])
    );
    let all = m.ranking(&RankingOptions { include_unscored: true, ..Default::default() }).unwrap();
    assert_eq!(names(&all), ["zero", "a", "b"]);
    assert_eq!(all.unscored, ["zero"]);
}

#[test]
fn broken_scores_rank_as_most_sensitive_and_are_listed() {
    let m = manifest(&[
        ("nan", Some(f64::NAN)),
        ("inf", Some(f64::INFINITY)),
        ("low", Some(-1.0)),
        ("high", Some(1e300)),
        ("minus", Some(f64::NEG_INFINITY)),
    ]);
    let ranking = m.ranking(&RankingOptions::default()).unwrap();
    assert_eq!(names(&ranking), ["low", "high", "inf", "minus", "nan"]);
    assert_eq!(ranking.not_finite, ["nan", "inf", "minus"]);
    assert_eq!(names(&m.ranking(&descending()).unwrap()), ["nan", "inf", "minus", "high", "low"]);
}

#[test]
fn globs_choose_groups_by_their_name_or_a_members() {
    let m = manifest(&[("l.0.q_proj", Some(1.0)), ("l.0.o_proj", Some(2.0)), ("visual.proj", Some(3.0))]);
    let include = RankingOptions { include: Some(globs(&["*.k_proj"])), ..Default::default() };
    assert_eq!(names(&m.ranking(&include).unwrap()), ["l.0.q_proj"]);
    let both = RankingOptions {
        include: Some(globs(&["l.*", "visual.*"])),
        exclude: globs(&["visual.*", "l.0.[qk]_proj"]),
        ..Default::default()
    };
    assert_eq!(names(&m.ranking(&both).unwrap()), ["l.0.o_proj"]);
}

#[test]
fn an_exclusion_that_splits_a_group_is_refused() {
    let m = manifest(&[("l.0.q_proj", Some(1.0)), ("l.0.o_proj", Some(2.0))]);
    let without =
        |patterns: &[&str]| m.ranking(&RankingOptions { exclude: globs(patterns), ..Default::default() });
    let error = without(&["*.k_proj"]).unwrap_err();
    assert_eq!(error.kind(), "refused");
    assert_eq!(
        error.to_string(),
        "`exclude` splits the group `l.0.q_proj`: it names `l.0.k_proj` but not `l.0.q_proj`"
    );
    // The first member's name is the group's, with or without the ending of the key.
    for whole in [&["*.q_proj"][..], &["*.q_proj.quant_recipe"], &["*.k_proj", "*.q_*"]] {
        assert_eq!(names(&without(whole).unwrap()), ["l.0.o_proj"], "{whole:?}");
    }
    // What is not included needs no exclusion.
    let others = RankingOptions {
        include: Some(globs(&["*.o_proj"])),
        exclude: globs(&["*.k_proj"]),
        ..Default::default()
    };
    assert_eq!(names(&m.ranking(&others).unwrap()), ["l.0.o_proj"]);
}

#[test]
fn an_order_of_its_own_takes_the_place_of_the_score_everywhere() {
    let m = manifest(&[("a", Some(4.0)), ("b", Some(3.0)), ("c", Some(2.0)), ("d", Some(1.0)), ("z", None)]);
    // As in the model, but b and c tie and d comes first.
    let by = |g: &Group| {
        Ok([("a", 1.0), ("b", 2.0), ("c", 2.0), ("d", f64::NEG_INFINITY)]
            .iter()
            .find(|(name, _)| *name == g.name)
            .map_or(f64::NAN, |(_, number)| *number))
    };
    let options = |order| RankingOptions { order, by: Some(&by), ..Default::default() };
    let (up, down) =
        (m.ranking(&options(Order::Ascending)).unwrap(), m.ranking(&options(Order::Descending)).unwrap());
    assert_eq!(names(&up), ["d", "a", "b", "c"]);
    assert_eq!(names(&down), ["b", "c", "a", "d"]);
    assert_eq!(down.lowest(50.0).unwrap().selected_names(), ["a", "d"]);
    assert_eq!(up.highest(25.0).unwrap().selected_names(), ["c"]);
    // Selections keep the order, also with groups that only the other one ranks: those come last.
    let only = |g: &Group| Ok(g.name == "a" || g.name == "d");
    let some = m.ranking(&RankingOptions { predicate: Some(&only), ..options(Order::Descending) }).unwrap();
    let both = some.first(100.0).unwrap().union(&up.first(100.0).unwrap()).unwrap();
    assert_eq!(both.selected_names(), ["a", "d", "b", "c"]);
    let fails = |_: &Group| Err(Error::argument("no number"));
    let options = RankingOptions { by: Some(&fails), ..Default::default() };
    assert_eq!(m.ranking(&options).unwrap_err().to_string(), "no number");
}

#[test]
fn a_share_of_the_score_is_covered_up_to_the_group_that_reaches_it() {
    let m = manifest(&[("a", Some(0.1)), ("b", Some(0.2)), ("c", Some(0.3)), ("d", Some(0.4))]);
    let ranking = m.ranking(&RankingOptions::default()).unwrap();
    let covered = |percent: f64| ranking.cover_score(percent, |g| g.score).unwrap().selected().len();
    assert_eq!([1.0, 10.0, 10.1, 30.0, 60.1, 100.0].map(covered), [1, 1, 2, 2, 4, 4]);
    let infinite = manifest(&[("a", Some(1.0)), ("b", Some(f64::INFINITY))]);
    let error =
        infinite.ranking(&RankingOptions::default()).unwrap().cover_score(50.0, |g| g.score).unwrap_err();
    assert!(error.to_string().contains("score of `b` is inf"), "{error}");
    assert!(ranking.cover_score(50.0, |_| 0.0).is_err() && ranking.cover_score(50.0, |_| -1.0).is_err());
}

#[test]
fn a_glob_that_matches_nothing_is_named_with_what_may_be_meant() {
    let m = manifest(&[
        ("language_model.layers.0.mlp.down_proj", Some(1.0)),
        ("visual.blocks.0.attn.qkv", Some(1.0)),
    ]);
    let cases = [
        ("visual.block.*", "`blocks` in place of `block`"),
        ("visual.blocks.0.atn.qkv", "did you mean `visual.blocks.0.attn.qkv`?"),
        ("transformer*", "read like `language_model.layers.0.mlp.down_proj`"),
    ];
    for (glob, hint) in cases {
        for options in [
            RankingOptions { include: Some(globs(&["visual.*", glob])), ..Default::default() },
            RankingOptions { exclude: globs(&[glob]), ..Default::default() },
        ] {
            let error = m.ranking(&options).unwrap_err();
            assert!(error.to_string().contains(&format!("`{glob}`")), "{error}");
            assert!(error.to_string().contains("`m.json`"), "{error}");
            assert!(error.hint().unwrap().contains(hint), "{:?}", error.hint());
        }
    }
}

#[test]
fn a_predicate_chooses_groups_and_its_errors_come_through() {
    let m = manifest(&[("a", Some(1.0)), ("b", Some(2.0))]);
    let only_b = |g: &Group| Ok(g.name == "b");
    let options = RankingOptions { predicate: Some(&only_b), ..Default::default() };
    assert_eq!(names(&m.ranking(&options).unwrap()), ["b"]);
    let fails = |_: &Group| Err(Error::argument("from the predicate"));
    let options = RankingOptions { predicate: Some(&fails), ..Default::default() };
    assert_eq!(m.ranking(&options).unwrap_err().to_string(), "from the predicate");
}

#[test]
fn an_empty_ranking_says_why() {
    let never = |_: &Group| Ok(false);
    let zero = manifest(&[("a", Some(0.0)), ("b", Some(0.0))]);
    let none = manifest(&[("a", None)]);
    let mixed = manifest(&[("a", None), ("b", Some(0.0))]);
    let empty = RankingOptions { include: Some(Globs::default()), ..Default::default() };
    let refused = RankingOptions { predicate: Some(&never), ..Default::default() };
    let cases = [
        (&zero, RankingOptions::default(), "its 2 groups were never scored", "unscored"),
        (&none, RankingOptions::default(), "its 1 group has no format but NONE: it was disabled", "enabled"),
        (
            &mixed,
            RankingOptions::default(),
            "1 were never scored (score exactly 0) and 1 disabled",
            "unscored",
        ),
        (&zero, empty, "none of its 2 groups is chosen", "include"),
        (&zero, refused, "none of its 2 groups is chosen", "predicate"),
    ];
    for (m, options, why, hint) in cases {
        let error = m.ranking(&options).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert!(error.hint().unwrap().contains(hint), "{:?}", error.hint());
        assert_eq!(error.kind(), "argument");
    }
}

#[test]
fn an_order_reads_as_it_prints() {
    for order in [Order::Ascending, Order::Descending] {
        assert_eq!(order.to_string().parse::<Order>().unwrap(), order);
    }
    assert!("up".parse::<Order>().unwrap_err().to_string().contains("`up`"));
}

/// Few distinct scores, so that ties are common.
fn scores() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(1u8..6, 1..40)
}

fn ranking_of(scores: &[u8], order: Order) -> Ranking {
    let names: Vec<String> = (0..scores.len()).map(|i| format!("g{i}")).collect();
    let groups: Vec<_> = names.iter().zip(scores).map(|(n, s)| (n.as_str(), Some(f64::from(*s)))).collect();
    manifest(&groups).ranking(&RankingOptions { order, ..Default::default() }).unwrap()
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![Just(Order::Ascending), Just(Order::Descending)]
}

#[test]
fn a_name_stands_for_its_whole_group_and_a_part_of_one_is_refused() {
    let manifest =
        manifest(&[("l.0.q_proj", Some(2.0)), ("l.1.up_proj", Some(1.0)), ("l.2.o_proj", Some(3.0))]);
    let ranking = manifest.ranking(&RankingOptions::default()).unwrap();
    let named = |globs: &[&str]| ranking.named(&Globs::new(globs).unwrap());
    for globs in [&["l.0.q_proj"][..], &["l.0.q_proj.quant_recipe"], &["l.0.*"], &["*.k_proj", "*.q_proj"]] {
        assert_eq!(named(globs).unwrap().selected_names(), ["l.0.q_proj"], "{globs:?}");
    }
    let both = named(&["l.0.*", "*.o_proj"]).unwrap();
    assert_eq!(
        (both.selected_names(), both.dropped_names()),
        (vec!["l.0.q_proj", "l.2.o_proj"], vec!["l.1.up_proj"])
    );
    let error = named(&["*.o_proj", "*.k_proj"]).unwrap_err();
    assert_eq!(error.kind(), "refused");
    assert_eq!(
        error.to_string(),
        "the selection splits the group `l.0.q_proj`: it names `l.0.k_proj` but not `l.0.q_proj`"
    );
    assert!(error.hint().unwrap().contains("loaders fuse its 2 modules"), "{:?}", error.hint());
}

#[test]
fn a_name_that_is_not_ranked_is_told_why() {
    let manifest = manifest(&[("l.0.o_proj", Some(2.0)), ("l.1.o_proj", Some(0.0)), ("l.2.o_proj", None)]);
    let ranking = manifest.ranking(&RankingOptions::default()).unwrap();
    let error = |glob: &str| ranking.named(&Globs::new([glob]).unwrap()).unwrap_err();
    assert!(error("l.1.*").to_string().contains("`l.1.o_proj`, which was never scored"));
    assert!(error("l.2.*").to_string().contains("`l.2.o_proj`, which has no format but NONE"));
    let typo = error("l.0.o_prj");
    assert!(typo.to_string().contains("matches no ranked group or module"), "{typo}");
    assert_eq!(typo.hint().unwrap(), "did you mean `l.0.o_proj`?");
}

proptest! {
    /// A share by weight is the shortest beginning of the ranking that reaches it.
    #[test]
    fn a_cover_is_the_shortest_beginning_that_reaches_the_share(
        scores in scores(), order in order(), percent in 1u32..=100, seed in 0u64..1000,
    ) {
        let ranking = ranking_of(&scores, order);
        // Some weights are 0.
        let weight = |g: &Group| (g.name.bytes().map(u64::from).sum::<u64>() * (seed + 7)) % 11;
        let whole: u64 = ranking.groups().map(weight).sum();
        match ranking.cover(f64::from(percent), weight) {
            Err(_) => prop_assert_eq!(whole, 0),
            Ok(cover) => {
                let sum: u64 = cover.selected().map(weight).sum();
                let last = cover.selected().next_back().map_or(0, weight);
                prop_assert!(sum * 100 >= whole * u64::from(percent));
                prop_assert!((sum - last) * 100 < whole * u64::from(percent));
                prop_assert_eq!(cover.selected_names(), &names(&ranking)[..cover.selected().len()]);
            }
        }
    }

    /// The k least sensitive and the N − k most sensitive groups are all groups, each once.
    #[test]
    fn lowest_and_highest_partition_the_ranking(scores in scores(), order in order(), k in 1usize..40) {
        let n = scores.len();
        let ranking = ranking_of(&scores, order);
        // Two percentages that stand for k and n − k groups, where n allows them.
        let percent = |k: usize| (1..=1000u32).map(|p| Percent::from_f64(f64::from(p) / 10.0).unwrap()).find(|p| p.count_of(n) == k);
        if k < n && let (Some(low), Some(high)) = (percent(k), percent(n - k)) {
            let (low, high) = (ranking.lowest(low).unwrap(), ranking.highest(high).unwrap());
            prop_assert_eq!(low.selected_names(), high.dropped_names());
            prop_assert_eq!(low.dropped_names(), high.selected_names());
            prop_assert_eq!(low.selected().len() + high.selected().len(), n);
            let most = low.selected().map(|g| g.score).fold(0.0, f64::max);
            prop_assert!(high.selected().all(|g| g.score >= most));
        }
    }

    /// What a smaller percentage selects, a larger one selects too, and both parts stay in ranking order.
    #[test]
    fn coverage_points_are_nested(scores in scores(), order in order(), p in 1u32..=1000, q in 1u32..=1000) {
        let ranking = ranking_of(&scores, order);
        let percent = |p: u32| Percent::from_f64(f64::from(p) / 10.0).unwrap();
        let (p, q) = (percent(p.min(q)), percent(p.max(q)));
        let all = names(&ranking);
        type Cut = fn(&Ranking, Percent) -> Result<Selection>;
        let cuts: [Cut; 3] = [|r, p| r.lowest(p), |r, p| r.highest(p), |r, p| r.first(p)];
        for cut in cuts {
            let (small, large) = (cut(&ranking, p).unwrap(), cut(&ranking, q).unwrap());
            prop_assert!(small.selected_names().iter().all(|n| large.selected_names().contains(n)));
            for part in [small.selected_names(), small.dropped_names()] {
                let ranks: Vec<_> = part.iter().map(|n| all.iter().position(|a| a == n).unwrap()).collect();
                prop_assert!(ranks.is_sorted());
            }
            prop_assert_eq!(small.selected().len(), p.count_of(scores.len()));
            prop_assert_eq!(small.total, scores.len());
        }
    }
}
