//! What the report says of quality that was measured, and what it makes of files that are wrong.

use std::fs;

use serde_json::{Value, json};

use super::parsed;
use crate::common::place::Place;
use crate::common::report::{of_family, page};
use crate::common::{ascending_family, tree};
use qlua::job::Family;
use qlua::report::sweep::SweepReport;
use qlua::write::Silent;

const POINTS: [f64; 4] = [10.0, 40.0, 70.0, 100.0];

/// A row of `quality.json` as `qlua evaluate` writes it.
fn row(scheme: &str, kind: &str, bytes: u64, kl: Value) -> Value {
    json!({
        "scheme": scheme, "kind": kind, "bytes": bytes, "kl": kl, "kl_error": 1.5e-5, "perplexity": 12.3456,
        "perplexity_error": 0.1, "base_perplexity": 12.25, "agreement": 0.9875, "agreement_error": 0.001, "samples": 4, "tokens": 170,
    })
}

/// Four schemes that are written, and a file of what was measured of them that holds `rows` of their names and sizes.
fn report_on(place: &Place, rows: impl Fn(&[(String, u64)]) -> Vec<Value>) -> (Family, SweepReport) {
    let family = ascending_family(place.options(), &POINTS);
    family.run(&Silent).unwrap();
    let sizes: Vec<(String, u64)> =
        of_family(&family).schemes.iter().map(|s| (s.name.clone(), s.figures.bytes)).collect();
    let file = json!({"base": "model", "rows": rows(&sizes)});
    fs::write(place.out.join("quality.json"), file.to_string().replace("\"NaN\"", "NaN")).unwrap();
    let report = of_family(&family);
    (family, report)
}

/// The fact about quality that the report has instead of rows.
fn note(report: &SweepReport) -> Option<&str> {
    report.facts.iter().find(|(label, _)| label == "Quality").map(|(_, value)| value.as_str())
}

/// The section of the page, as its tables, plots and words.
fn section(html: &str) -> Option<String> {
    let document = parsed(html);
    let section = document.descendants().find(|n| n.attribute("id") == Some("quality"))?;
    Some(html[section.range()].to_string())
}

/// KL falls to 0.002 of its range at about a third of the size: far below the straight line.
#[test]
fn the_curve_has_a_point_for_each_scheme_and_names_its_knee() {
    let place = Place::new();
    let kl = [1e-5, 1e-4, 2e-4, 1e-1];
    let (_, report) = report_on(&place, |sizes| {
        let rows = sizes.iter().zip(kl);
        rows.flat_map(|((name, bytes), kl)| {
            [row(name, "text", *bytes, json!(kl)), row(name, "image_text", *bytes, json!(kl * 3.0))]
        })
        .collect()
    });
    assert_eq!(note(&report), None);
    let (html, text) = (page(&report).to_html(), page(&report).to_markdown());
    let section = section(&html).unwrap();
    assert_eq!(section.matches("<svg").count(), 2, "a curve for text, and one for image + text");
    assert_eq!(section.matches("<circle").count(), 2 * POINTS.len());
    for said in [
        "the knee: top70",
        "farthest below the straight line from the smallest scheme to the base checkpoint",
        "(log)",
    ] {
        assert_eq!(section.matches(said).count(), 2, "{said}: {section}");
    }
    assert!(text.contains("## Quality against size") && text.contains("knee of KL against size is top70"));
    let table: Vec<&str> =
        text.lines().filter(|l| l.starts_with("| top10 ") && l.contains("1.50e-5")).collect();
    for cell in ["1.00e-5", "3.00e-5", "1.50e-5", "12.346", "98.8 %"] {
        assert!(table[0].contains(cell), "{cell}: {table:?}");
    }
}

#[test]
fn one_kind_of_samples_is_one_curve_and_what_has_no_logarithm_is_in_the_table_alone() {
    let place = Place::new();
    let (_, report) = report_on(&place, |sizes| {
        let kl = [json!(0.0), json!(1e-4), json!("NaN"), json!(1e-2)];
        sizes.iter().zip(kl).map(|((name, bytes), kl)| row(name, "text", *bytes, kl)).collect()
    });
    let section = section(&page(&report).to_html()).unwrap();
    assert_eq!((section.matches("<svg").count(), section.matches("<circle").count()), (1, 2));
    assert!(section.contains("2 schemes whose KL is 0 or not finite are in the table alone"), "{section}");
    assert!(section.contains("not finite") && section.contains("the knee: top40"), "{section}");
    assert!(!section.contains("image + text"));
}

#[test]
fn rows_of_unknown_schemes_are_ignored() {
    let place = Place::new();
    let (_, report) = report_on(&place, |sizes| {
        vec![row("top33", "text", 5, json!(0.5)), row(&sizes[0].0, "text", sizes[0].1, json!(1e-3))]
    });
    assert_eq!((note(&report), report.quality.len()), (None, 1));
    let (_, without) = report_on(&place, |_| vec![row("top33", "text", 5, json!(0.5))]);
    assert!(
        section(&page(&without).to_html()).is_none() && !page(&without).to_markdown().contains("Quality")
    );
}

/// A directory that was written anew under the same name was not measured.
#[test]
fn rows_of_other_checkpoints_of_the_same_name_are_left_out() {
    let place = Place::new();
    let (_, report) = report_on(&place, |sizes| {
        let record = place.out.join("top10/layer-sensitivity/provenance.json");
        let record: Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
        let mut measured = row("top10", "text", sizes[0].1, json!(1e-3));
        measured["inputs"] = record["inputs"].clone();
        let mut rewritten = row("top40", "text", sizes[1].1, json!(1e-3));
        rewritten["inputs"] = record["inputs"].clone();
        vec![measured, rewritten, row("top70", "text", sizes[2].1 + 2, json!(1e-3))]
    });
    let schemes: Vec<&str> = report.quality.iter().map(|q| q.scheme.as_str()).collect();
    assert_eq!(schemes, ["top10"]);
    assert_eq!(
        note(&report),
        Some("2 rows of quality.json left out: measured on other checkpoints of the same names")
    );
}

/// Figures of other samples, or of another base, are no part of the same curve: those are shown that most schemes have.
#[test]
fn rows_of_other_samples_are_left_out_of_the_curve() {
    let place = Place::new();
    let (_, report) = report_on(&place, |sizes| {
        let on = |at: usize, kind: &str, samples: Option<&str>, kl: f64| {
            let mut row = row(&sizes[at].0, kind, sizes[at].1, json!(kl));
            row["measured_on"] = json!(samples);
            row
        };
        vec![
            on(0, "text", Some("a"), 1e-3),
            on(1, "text", Some("a"), 2e-3),
            on(0, "text", Some("b"), 9e-3),
            // As often as the first: the last counts.
            on(0, "image_text", None, 3e-3),
            on(0, "image_text", Some("c"), 4e-3),
        ]
    });
    let shown: Vec<f64> = report.quality.iter().map(|row| row.kl).collect();
    assert_eq!(shown, [1e-3, 2e-3, 4e-3]);
    assert_eq!(
        note(&report),
        Some(
            "2 rows of quality.json left out: measured on other samples, or against another base, than the rows that are shown"
        )
    );
}

/// A broken file is a fact of the report, which names no folder, and never a failed sweep.
#[test]
fn a_broken_file_is_said_to_be_so() {
    let place = Place::new();
    let (family, _) = report_on(&place, |_| Vec::new());
    let path = place.out.join("quality.json");
    let check = |expected: &str| {
        let report = of_family(&family);
        let said = note(&report).unwrap_or_else(|| panic!("{expected}"));
        assert!(said.starts_with("none: ") && said.contains(expected), "{said}");
        assert!(!said.contains(place.out.to_str().unwrap()), "{said}");
        assert!(section(&page(&report).to_html()).is_none());
        family.write_report(&page(&report)).unwrap();
    };
    for (text, expected) in [
        ("", "quality.json"),
        ("{\"rows\": [{\"scheme\": \"top10\"}]}", "missing field"),
        ("[]", "quality.json"),
        (
            json!({"rows": [row("top10", "sound", 1, json!(0.5))]}).to_string().as_str(),
            "there is no kind of samples `sound`",
        ),
        (json!({"rows": [row("top10", "text", 1, json!("much"))]}).to_string().as_str(), "a number"),
    ] {
        fs::write(&path, text).unwrap();
        check(expected);
    }
    // A digit of what was measured is another one.
    let measured = json!({"base": "model", "rows": [row("top10", "text", 1, json!(1.25))]});
    let sealed = String::from_utf8(qlua::seal::sealed(&measured)).unwrap();
    fs::write(&path, sealed.replace("1.25", "1.35")).unwrap();
    check("was changed after it was written");
    fs::write(&path, sealed).unwrap();
    assert_ne!(note(&of_family(&family)).map(|said| said.contains("was changed")), Some(true));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    check("is a directory, not a regular file");
    let before = tree(&place.out).len();
    family.run(&Silent).unwrap();
    assert_eq!(tree(&place.out).len(), before);
}
