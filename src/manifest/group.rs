//! A recipe group: the modules that share one format decision, with the scores and costs of every format.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use crate::model::{Tower, block_of, kind_of};

/// The ending that ModelOpt adds to the first member's name to make a group's key.
pub(super) const KEY_SUFFIX: &str = ".quant_recipe";

/// A format that a group may take.
#[derive(Debug, Clone, PartialEq)]
pub struct RecipeFormat {
    /// ModelOpt's name for it, e.g. `FP8_DEFAULT_CFG`; `NONE` leaves the group as it is.
    pub name: String,
    /// Bits per weight, scales included: 8 for FP8, 16 for `NONE`.
    pub effective_bits: f64,
}

impl RecipeFormat {
    /// Reads ModelOpt's spelling, `NAME(effective-bits: 8.0)`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once('(')?;
        let bits = rest.strip_suffix(')')?.trim().strip_prefix("effective-bits:")?;
        let effective_bits: f64 = bits.trim().parse().ok()?;
        let usable = !name.is_empty() && effective_bits.is_finite() && effective_bits > 0.0;
        usable.then(|| RecipeFormat { name: name.trim().to_string(), effective_bits })
    }

    /// Whether this is `NONE`, which quantises nothing.
    pub fn is_none(&self) -> bool {
        self.name == "NONE"
    }
}

/// A format together with what choosing it means for one group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate<'a> {
    /// The format.
    pub format: &'a RecipeFormat,
    /// Its sensitivity score: higher is more harmful.
    pub score: f64,
    /// Its cost, in weights of 16 bits: parameters × effective bits / 16.
    pub cost: f64,
}

/// A recipe group of a manifest. `formats`, `scores` and `costs` have one entry per format, in the same order.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The name of the first member, in the manifest's spelling.
    pub name: String,
    /// The modules that share the decision, in model order; never empty.
    pub members: Vec<String>,
    /// The formats that were tried, never empty; groups with the same share them.
    pub formats: Arc<[RecipeFormat]>,
    /// The sensitivity score of each format.
    pub scores: Vec<f64>,
    /// The cost of each format, in weights of 16 bits: parameters × effective bits / 16.
    pub costs: Vec<f64>,
    /// The score that ranks the group. Where one format quantises, the published `importance`, or the largest of `scores`
    /// where there is none; where several do, that of the candidate. A score that is infinite or NaN goes before both,
    /// because Python's `max` hides a NaN that does not come first.
    pub score: f64,
    /// Whether the key as published has the ending.
    pub(super) has_ending: bool,
    /// As published.
    pub(super) importance: Option<f64>,
    /// As published.
    pub(super) rank: Option<u64>,
    /// The format that is the candidate, of those that quantise.
    pub(super) chosen: Option<usize>,
    /// Whether the manifest is that of a model without other towers: what belongs to none by its name is language then.
    pub(super) is_text_only: bool,
}

impl Group {
    /// The key as published: the name with `.quant_recipe`.
    pub fn key(&self) -> Cow<'_, str> {
        match self.has_ending {
            true => Cow::Owned(format!("{}{KEY_SUFFIX}", self.name)),
            false => Cow::Borrowed(&self.name),
        }
    }

    /// Whether there is a format that can be chosen; a group that has only `NONE` was disabled in the search.
    pub fn is_candidate(&self) -> bool {
        self.chosen.is_some()
    }

    /// Whether the scoring inputs exercised the group: false for a candidate whose score is exactly 0, and for a group that
    /// is no candidate.
    pub fn is_scored(&self) -> bool {
        self.candidate().is_some_and(|candidate| candidate.score != 0.0)
    }

    /// The format whose score and cost count, of those that quantise: see [`Manifest::with_candidates`](crate::manifest::Manifest::with_candidates).
    pub fn candidate(&self) -> Option<Candidate<'_>> {
        self.option(self.chosen?)
    }

    /// Makes that format the candidate for which `rank` answers the least; of equal ones the first. One
    /// without a rank is none. The score that ranks the group follows.
    pub(super) fn choose(&mut self, rank: impl Fn(&RecipeFormat) -> Option<u8>) {
        self.chosen = self.best(rank);
        let several = self.has_several();
        let broken = self.counted().filter(|score| !score.is_finite()).max_by(|a, b| compare_scores(*a, *b));
        let largest = self.counted().fold(f64::NEG_INFINITY, f64::max);
        let own = self.chosen.filter(|_| several).map(|at| self.scores[at]);
        self.score = broken.or(own).or(self.importance).unwrap_or(largest);
    }

    /// The format for which `rank` answers the least.
    pub(super) fn best(&self, rank: impl Fn(&RecipeFormat) -> Option<u8>) -> Option<usize> {
        let quantising = self.formats.iter().enumerate().filter(|(_, format)| !format.is_none());
        let ranked = quantising.filter_map(|(at, format)| Some((rank(format)?, at)));
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, at)| at)
    }

    /// Whether one of the scores that count is below 0, whatever the published `importance` says.
    pub fn has_negative_score(&self) -> bool {
        self.counted().chain([self.score]).any(|score| score.is_finite() && score < 0.0)
    }

    /// Whether several formats quantise.
    fn has_several(&self) -> bool {
        self.formats.iter().filter(|format| !format.is_none()).count() > 1
    }

    /// The scores that count: all where one format quantises, otherwise those of the candidate and of `NONE`.
    fn counted(&self) -> impl Iterator<Item = f64> {
        let several = self.has_several();
        let counts = move |at: usize| !several || Some(at) == self.chosen || self.formats[at].is_none();
        self.scores.iter().enumerate().filter(move |(at, _)| counts(*at)).map(|(_, score)| *score)
    }

    /// The format at index `at`, with its score and cost.
    pub(crate) fn option(&self, at: usize) -> Option<Candidate<'_>> {
        Some(Candidate {
            format: self.formats.get(at)?,
            score: *self.scores.get(at)?,
            cost: *self.costs.get(at)?,
        })
    }

    /// The part of the model that the group belongs to. All of a model without other towers is language, but its head.
    pub fn tower(&self) -> Tower {
        match Tower::of(&self.name) {
            Tower::Other if self.is_text_only => Tower::Language,
            tower => tower,
        }
    }

    /// The block's number: see [`block_of`].
    pub fn block(&self) -> Option<u32> {
        block_of(&self.name)
    }

    /// The kind of module: see [`kind_of`].
    pub fn kind(&self) -> &str {
        kind_of(&self.name)
    }

    /// The number of weights of all members together, biases not counted.
    ///
    /// A cost is parameters × effective bits / 16, so that of `NONE` is the count itself: 5,242,880 = 2048 × (2048 + 2 ×
    /// 256) for q, k and v of Qwen2.5-VL-3B, 8,755,200 = 2 × 1280 × 3420 for gate and up of its vision blocks. `None` when
    /// no cost is a usable number.
    pub fn parameters(&self) -> Option<u64> {
        let unquantised = self.formats.iter().position(RecipeFormat::is_none).unwrap_or(0);
        let option = self.option(unquantised)?;
        let parameters = (option.cost * 16.0 / option.format.effective_bits).round();
        // Above 2^53 a cost no longer counts single weights.
        (0.0..=9_007_199_254_740_992.0).contains(&parameters).then_some(parameters as u64)
    }

    /// The bytes of [`Group::parameters`] as a manifest counts them: two for each, as in BF16.
    pub fn bytes(&self) -> Option<u64> {
        self.parameters().map(|parameters| 2 * parameters)
    }
}

/// How formats are preferred as long as nobody says what is written: FP8 with one scale a tensor, any other FP8, the rest.
pub(super) fn preferred(format: &RecipeFormat) -> Option<u8> {
    Some(match format.name.as_str() {
        "FP8_DEFAULT_CFG" => 0,
        name if name.starts_with("FP8") => 1,
        _ => 2,
    })
}

/// Orders two scores from harmless to harmful: numbers by value, then infinities, then NaN.
///
/// An infinity of either sign is a score that was never computed (ModelOpt starts from one), so it counts as harmful.
pub fn compare_scores(a: f64, b: f64) -> Ordering {
    let class = |score: f64| (u8::from(!score.is_finite()), u8::from(score.is_nan()));
    let by_value = || if a.is_finite() { a.partial_cmp(&b) } else { None };
    class(a).cmp(&class(b)).then_with(|| by_value().unwrap_or(Ordering::Equal))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, formats: &[(&str, f64, f64)]) -> Group {
        let mut group = Group {
            name: name.into(),
            has_ending: true,
            members: vec![name.into()],
            formats: formats.iter().map(|f| RecipeFormat::parse(f.0).unwrap()).collect(),
            scores: formats.iter().map(|f| f.1).collect(),
            costs: formats.iter().map(|f| f.2).collect(),
            score: formats.iter().map(|f| f.1).fold(0.0, f64::max),
            importance: None,
            rank: None,
            is_text_only: false,
            chosen: None,
        };
        group.choose(preferred);
        group
    }

    #[test]
    fn formats_are_read_in_modelopts_spelling_only() {
        let format = RecipeFormat::parse("FP8_DEFAULT_CFG(effective-bits: 8.0)").unwrap();
        assert_eq!((format.name.as_str(), format.effective_bits), ("FP8_DEFAULT_CFG", 8.0));
        assert_eq!(RecipeFormat::parse("W4A8_AWQ(effective-bits: 4.5)").unwrap().effective_bits, 4.5);
        for text in
            ["FP8", "FP8()", "FP8(effective-bits: x)", "(effective-bits: 8)", "FP8(effective-bits: NaN)"]
        {
            assert_eq!(RecipeFormat::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_group_with_only_none_is_no_candidate() {
        let none = group("a", &[("NONE(effective-bits: 16.0)", 0.0, 100.0)]);
        assert!(!none.is_candidate() && !none.is_scored() && none.candidate().is_none());
        assert_eq!(none.parameters(), Some(100));
    }

    #[test]
    fn the_candidate_is_the_first_format_that_quantises() {
        let g = group(
            "a",
            &[
                ("NONE(effective-bits: 16.0)", 0.0, 100.0),
                ("FP8_DEFAULT_CFG(effective-bits: 8.0)", 0.5, 50.0),
                ("NVFP4_DEFAULT_CFG(effective-bits: 4.5)", 2.0, 28.125),
            ],
        );
        let candidate = g.candidate().unwrap();
        assert_eq!(
            (candidate.format.name.as_str(), candidate.score, candidate.cost),
            ("FP8_DEFAULT_CFG", 0.5, 50.0)
        );
        assert!(g.is_scored());
    }

    /// An NVFP4 score that comes first says nothing about FP8.
    #[test]
    fn the_format_that_is_written_decides_and_ranks() {
        let mut g = group(
            "a",
            &[
                ("NVFP4_DEFAULT_CFG(effective-bits: 4.5)", 9.0, 28.125),
                ("FP8_DEFAULT_CFG(effective-bits: 8.0)", 0.5, 50.0),
                ("FP8_PER_CHANNEL_PER_TOKEN_CFG(effective-bits: 8.0)", 0.25, 50.0),
                ("NONE(effective-bits: 16.0)", 0.0, 100.0),
            ],
        );
        let candidate = |g: &Group| (g.candidate().unwrap().score, g.candidate().unwrap().cost, g.score);
        assert_eq!(candidate(&g), (0.5, 50.0, 0.5));
        g.choose(|format| Some(u8::from(!format.name.contains("PER_CHANNEL"))));
        assert_eq!(candidate(&g), (0.25, 50.0, 0.25));
        g.choose(|format| Some(u8::from(!format.name.starts_with("NVFP4"))));
        assert_eq!(candidate(&g), (9.0, 28.125, 9.0));
        g.scores[0] = f64::NAN;
        g.choose(preferred);
        assert_eq!(candidate(&g), (0.5, 50.0, 0.5), "what is broken elsewhere does not matter");
    }

    #[test]
    fn a_candidate_that_scores_exactly_zero_was_never_scored() {
        let formats = [
            ("INT8_DEFAULT_CFG(effective-bits: 8.0)", 0.0, 50.0),
            ("NONE(effective-bits: 16.0)", 0.0, 100.0),
        ];
        assert!(!group("a", &formats).is_scored());
        let nan = [("INT8_DEFAULT_CFG(effective-bits: 8.0)", f64::NAN, 50.0)];
        assert!(group("a", &nan).is_scored());
    }

    #[test]
    fn parameters_follow_from_any_format() {
        assert_eq!(group("a", &[("INT4(effective-bits: 4.0)", 1.0, 25.0)]).parameters(), Some(100));
        assert_eq!(group("a", &[("INT4(effective-bits: 4.0)", 1.0, f64::NAN)]).parameters(), None);
        assert_eq!(group("a", &[("INT4(effective-bits: 4.0)", 1.0, -4.0)]).parameters(), None);
    }

    #[test]
    fn broken_scores_count_as_harmful() {
        let mut scores = [f64::NAN, 3.0, f64::INFINITY, -1.0, f64::NEG_INFINITY, 0.0];
        scores.sort_by(|a, b| compare_scores(*a, *b));
        assert_eq!(format!("{scores:?}"), "[-1.0, 0.0, 3.0, inf, -inf, NaN]");
    }
}
