//! One manifest from several of the same model, by the weighted mean of their scores.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Candidate, Group, Manifest, compare_scores};
use crate::error::{Error, Result};
use crate::json;
use crate::model::bare_name;
use crate::words::words;

words! {
    /// How scores of different runs are made comparable.
    pub enum Normalise: "way to make scores comparable" {
        /// Each run's scores are divided by their median over the groups that all runs scored: the unit of a score depends on
        /// the loss and the number of samples.
        Median = "median",
        /// Scores are taken as they are.
        None = "none",
    }
}

/// What one manifest says of one group.
struct Scored<'a> {
    manifest: usize,
    group: &'a Group,
    candidate: Candidate<'a>,
}

/// The mean of `manifests` (each with its weight) as a manifest of its own, called `name`. It has the groups of the first,
/// each with its score averaged over the manifests that scored it; formats and costs are those of the first of these. An
/// infinite or NaN score in any of them stays one, and amax values are the largest of all.
///
/// # Errors
/// [`Error::Argument`] for fewer than two manifests, weights that are not above 0, groups that the first manifest lacks, or
/// runs that no group has a score of in common to be normalised by.
pub fn combine(name: &Path, manifests: &[(&Manifest, f64)], normalise: Normalise) -> Result<Manifest> {
    let [(first, _), _, ..] = manifests else {
        return Err(Error::argument("a mean needs at least two manifests"));
    };
    if let Some((_, weight)) = manifests.iter().find(|(_, weight)| !(weight.is_finite() && *weight > 0.0)) {
        return Err(Error::argument(format!("the weight {weight} of a manifest is not above 0")));
    }
    let known: HashMap<&str, usize> =
        first.groups().iter().enumerate().map(|(at, g)| (bare_name(&g.name), at)).collect();
    let mut scored: Vec<Vec<Scored>> = first.groups().iter().map(|_| Vec::new()).collect();
    for (number, (manifest, _)) in manifests.iter().enumerate() {
        for group in manifest.groups() {
            let Some(&at) = known.get(bare_name(&group.name)) else {
                let (path, first) = (manifest.path().display(), first.path().display());
                return Err(Error::argument(format!(
                    "`{path}` has the group `{}`, which `{first}` lacks",
                    group.name
                ))
                .with_hint("manifests can be combined when they are of one model; name the fullest first"));
            };
            if let Some(candidate) = group.candidate().filter(|_| group.is_scored()) {
                scored[at].push(Scored { manifest: number, group, candidate });
            }
        }
    }
    let units = units(manifests, &scored, normalise)?;
    let document = document(manifests, &scored, &units, normalise)?;
    let watched = manifests.iter().flat_map(|(manifest, _)| manifest.watched().iter().cloned());
    Ok(Manifest::parse(name, json::pretty(&document))?.watching(watched))
}

/// What each manifest's scores are divided by.
fn units(manifests: &[(&Manifest, f64)], scored: &[Vec<Scored>], normalise: Normalise) -> Result<Vec<f64>> {
    if normalise == Normalise::None {
        return Ok(vec![1.0; manifests.len()]);
    }
    let in_all =
        || scored.iter().filter(|s| s.len() == manifests.len() && s.iter().all(|s| s.score().is_finite()));
    let unit = |number: usize| {
        let mut scores: Vec<f64> = in_all().map(|s| s[number].score()).collect();
        scores.sort_by(f64::total_cmp);
        let middle = scores.get(scores.len() / 2).copied().unwrap_or(0.0);
        let below = scores.get(scores.len().saturating_sub(1) / 2).copied().unwrap_or(0.0);
        let median = (middle + below) / 2.0;
        if median.is_finite() && median > 0.0 {
            return Ok(median);
        }
        let path = manifests[number].0.path().display();
        Err(Error::argument(format!("the scores of `{path}` have no median above 0 to be normalised by"))
            .with_hint("combine them as they are, without normalising, if their unit is the same"))
    };
    (0..manifests.len()).map(unit).collect()
}

impl Scored<'_> {
    /// The group's score when one is broken, otherwise that of its candidate.
    fn score(&self) -> f64 {
        if self.group.score.is_finite() { self.candidate.score } else { self.group.score }
    }
}

/// The first manifest's document with the means in the place of its scores.
fn document(
    manifests: &[(&Manifest, f64)],
    scored: &[Vec<Scored>],
    units: &[f64],
    normalise: Normalise,
) -> Result<Value> {
    let first = manifests[0].0;
    let mut document: Map<String, Value> = json::parse(first.path(), json::without_mark(first.bytes()))?;
    for stale in ["autoquant_state", "sensitivity_ranking", "amax"] {
        document.remove(stale);
    }
    let sources: Vec<Value> = manifests
        .iter()
        .zip(units)
        .map(|((manifest, weight), unit)| {
            json!({"manifest": manifest.path().display().to_string(), "weight": weight, "unit": unit})
        })
        .collect();
    document.insert("combined".into(), json!({"normalise": normalise.word(), "manifests": sources}));
    let mut means = Vec::with_capacity(scored.len());
    if let Some(Value::Object(entries)) = document.get_mut("layer_sensitivity") {
        for ((_, entry), scored) in entries.iter_mut().zip(scored) {
            means.push(settle(entry, scored, manifests, units));
        }
    }
    let mut ranked: Vec<usize> = (0..means.len()).collect();
    ranked.sort_by(|&a, &b| compare_scores(means[a], means[b]));
    let ranking = ranked
        .into_iter()
        .map(|at| json!({"name": first.groups()[at].key(), "importance": number(means[at])}))
        .collect();
    document.insert("sensitivity_ranking".into(), Value::Array(ranking));
    if let Some(amax) = amax(manifests) {
        document.insert("amax".into(), Value::Object(amax));
    }
    Ok(Value::Object(document))
}

/// Writes the mean of one group into its entry and returns it.
fn settle(entry: &mut Value, scored: &[Scored], manifests: &[(&Manifest, f64)], units: &[f64]) -> f64 {
    let mean = mean(scored, manifests, units);
    let Some(source) = scored.first() else {
        // Disabled in all of them, or never scored: as the first manifest has it.
        entry["importance"] = json!(0.0);
        return 0.0;
    };
    let is_none = source.group.formats.iter().position(|f| f.is_none());
    let none = is_none.and_then(|at| source.group.option(at));
    let options: Vec<Candidate> = [Some(source.candidate), none].into_iter().flatten().collect();
    let texts =
        |o: &Candidate| json!(format!("{}(effective-bits: {:?})", o.format.name, o.format.effective_bits));
    entry["formats"] = options.iter().map(texts).collect();
    entry["costs"] = options.iter().map(|o| number(o.cost)).collect();
    entry["scores"] = options.iter().map(|o| number(if o.format.is_none() { 0.0 } else { mean })).collect();
    entry["importance"] = number(mean);
    if let Some(entry) = entry.as_object_mut() {
        entry.remove("rank");
    }
    mean
}

fn mean(scored: &[Scored], manifests: &[(&Manifest, f64)], units: &[f64]) -> f64 {
    let broken = scored.iter().map(Scored::score).filter(|s| !s.is_finite());
    if let Some(broken) = broken.max_by(|a, b| compare_scores(*a, *b)) {
        return broken;
    }
    let weight: f64 = scored.iter().map(|s| manifests[s.manifest].1).sum();
    let sum: f64 = scored.iter().map(|s| manifests[s.manifest].1 * s.score() / units[s.manifest]).sum();
    if weight > 0.0 { sum / weight } else { 0.0 }
}

/// The largest amax of every quantizer, in the spelling of the manifest that names it first.
fn amax(manifests: &[(&Manifest, f64)]) -> Option<Map<String, Value>> {
    let mut entries: Vec<(&str, f64)> = Vec::new();
    let mut known = HashMap::new();
    for (name, value) in manifests.iter().filter_map(|(m, _)| m.amax()).flat_map(|amax| amax.iter()) {
        let at = *known.entry(bare_name(name)).or_insert(entries.len());
        match entries.get_mut(at) {
            None => entries.push((name, value)),
            // A broken value is kept, so that it is reported where it is used.
            Some((_, largest)) if value.is_nan() || value > *largest => *largest = value,
            Some(_) => {}
        }
    }
    (!entries.is_empty())
        .then(|| entries.into_iter().map(|(name, value)| (name.into(), number(value))).collect())
}

/// A number that JSON can hold: what is not finite becomes the word that [`json::Number`] reads back.
fn number(value: f64) -> Value {
    match value {
        _ if value.is_finite() => json!(value),
        _ if value.is_nan() => json!("NaN"),
        _ if value > 0.0 => json!("Infinity"),
        _ => json!("-Infinity"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::RankingOptions;

    fn manifest(prefix: &str, groups: &[(&str, &str)]) -> Manifest {
        let entry = |(name, scores): &(&str, &str)| match *scores {
            "NONE" => format!(
                r#""{prefix}{name}.quant_recipe": {{"formats": ["NONE(effective-bits: 16.0)"], "scores": [0], "costs": [4]}}"#
            ),
            score => format!(
                r#""{prefix}{name}.quant_recipe": {{"formats": ["F(effective-bits: 8.0)", "NONE(effective-bits: 16.0)"],
                    "scores": [{score}, 0], "costs": [2, 4], "rank": 7, "module_names": ["{prefix}{name}"]}}"#
            ),
        };
        let groups: Vec<String> = groups.iter().map(entry).collect();
        let text = format!(
            r#"{{"scheme": {{"name": "s"}}, "autoquant_state": {{"score": 1}}, "amax": {{"{prefix}layers.0.input_quantizer": {}}},
                "layer_sensitivity": {{{}}}}}"#,
            groups.len(),
            groups.join(",")
        );
        Manifest::parse(format!("{prefix}m.json"), text).unwrap()
    }

    fn scores(manifest: &Manifest) -> Vec<f64> {
        manifest.groups().iter().map(|g| g.score).collect()
    }

    #[test]
    fn a_mean_is_weighted_over_the_runs_that_scored_a_group() {
        let a =
            manifest("", &[("layers.0", "1"), ("layers.1", "0"), ("layers.2", "NONE"), ("layers.3", "0")]);
        let b = manifest(
            "model.",
            &[("layers.0", "4"), ("layers.1", "5"), ("layers.2", "6"), ("layers.3", "NONE")],
        );
        let mean = combine(Path::new("c.json"), &[(&a, 2.0), (&b, 1.0)], Normalise::None).unwrap();
        assert_eq!(scores(&mean), [2.0, 5.0, 6.0, 0.0]);
        let ranking = mean.ranking(&RankingOptions::default()).unwrap();
        assert_eq!((ranking.len(), ranking.unscored.as_slice()), (3, &["layers.3".to_string()][..]));
        assert_eq!((mean.score(), mean.scheme_name()), (None, Some("s")));
        assert_eq!(mean.groups()[2].costs, [2.0, 4.0], "formats of the run that scored it");
        assert_eq!(mean.amax().unwrap().get("layers.0.input_quantizer"), Some(4.0));
        let published = mean.published_ranking().unwrap();
        assert_eq!(published.last().unwrap(), "layers.2.quant_recipe");
    }

    #[test]
    fn normalised_runs_weigh_the_same_whatever_their_unit() {
        let a = manifest("", &[("layers.0", "1"), ("layers.1", "2"), ("layers.2", "6")]);
        let b = manifest("", &[("layers.0", "3000"), ("layers.1", "1000"), ("layers.2", "500")]);
        let mean = combine(Path::new("c.json"), &[(&a, 1.0), (&b, 1.0)], Normalise::Median).unwrap();
        assert_eq!(scores(&mean), [(0.5 + 3.0) / 2.0, 1.0, (3.0 + 0.5) / 2.0]);
        let text = String::from_utf8(mean.bytes().to_vec()).unwrap();
        assert!(text.contains("\"unit\": 2.0") && text.contains("\"unit\": 1000.0"), "{text}");
    }

    #[test]
    fn a_broken_score_stays_broken_and_bad_input_is_named() {
        let a = manifest("", &[("layers.0", "1"), ("layers.1", "2")]);
        let b = manifest("", &[("layers.0", "NaN"), ("layers.1", "2")]);
        let of = |manifests: &[(&Manifest, f64)]| combine(Path::new("c.json"), manifests, Normalise::None);
        let mean = of(&[(&a, 1.0), (&b, 1.0)]).unwrap();
        assert!(scores(&mean)[0].is_nan());
        assert_eq!(scores(&mean)[1], 2.0);
        assert!(of(&[(&a, 1.0)]).unwrap_err().to_string().contains("at least two"));
        assert!(of(&[(&a, 1.0), (&b, 0.0)]).unwrap_err().to_string().contains("the weight 0"));
        let other = manifest("", &[("visual.0", "1")]);
        let error = of(&[(&a, 1.0), (&other, 1.0)]).unwrap_err().to_string();
        assert!(error.contains("`visual.0`, which `m.json` lacks"), "{error}");
        let zeros = manifest("", &[("layers.0", "0"), ("layers.1", "0")]);
        let error = combine(Path::new("c.json"), &[(&a, 1.0), (&zeros, 1.0)], Normalise::Median).unwrap_err();
        assert!(error.to_string().contains("no median above 0"), "{error}");
    }
}
