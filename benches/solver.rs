//! The budget solver: 1,000 budgets over the published manifest of Qwen2.5-VL-3B (under 1 s), and one budget over 100,000
//! groups (under 10 s, with a proven gap of at most 1e-6). A plain harness: each prints what it found beside its time.

use std::path::Path;
use std::time::Instant;

use qlua::manifest::Manifest;
use qlua::plan::solver::{Choice, Knapsack};

fn main() {
    published();
    for kind in ["independent", "few sizes", "correlated"] {
        large(kind);
    }
}

fn published() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/data/manifests/qwen2_5_vl_3b_all_layers_fp8.json");
    if !path.exists() {
        println!("SKIPPED: {} is not there", path.display());
        return;
    }
    let manifest = Manifest::open(&path).expect("the published manifest parses");
    let choices = |g: &qlua::manifest::Group| {
        g.scores.iter().zip(&g.costs).map(|(&score, &cost)| Choice { score, cost }).collect()
    };
    let start = Instant::now();
    let problem = Knapsack::new(manifest.groups().iter().map(choices).collect()).expect("costs are numbers");
    let (floor, ceiling) = (problem.floor(), problem.ceiling());
    let mut worst = 0f64;
    let mut longest = 0f64;
    for number in 1..=1_000 {
        let budget = floor + (ceiling - floor) * f64::from(number) / 1_000.0;
        let begun = Instant::now();
        let solution = problem.solve(budget).expect("above the floor");
        longest = longest.max(begun.elapsed().as_secs_f64());
        worst = worst.max(solution.gap);
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{} groups, 1,000 budgets: {seconds:.3} s, longest {longest:.4} s, largest gap {worst:.1e}",
        manifest.groups().len()
    );
}

fn large(kind: &str) {
    let mut seed = 1u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 11) as f64 / (1u64 << 53) as f64
    };
    let sizes = [4_194_304.0, 5_242_880.0, 22_544_384.0, 45_088_768.0];
    let groups: Vec<Vec<Choice>> = (0..100_000)
        .map(|_| {
            let cost = match kind {
                "few sizes" => sizes[(random() * 4.0) as usize],
                _ => (random() * 1e8).round() + 1.0,
            };
            let score = match kind {
                "correlated" => cost * (1.0 + 0.01 * random()) * 1e-9,
                _ => 10f64.powf(-6.0 * random()),
            };
            vec![Choice { score, cost: cost / 2.0 }, Choice { score: 0.0, cost }]
        })
        .collect();
    let start = Instant::now();
    let problem = Knapsack::new(groups).expect("costs are numbers");
    let budget = 0.6 * problem.ceiling();
    let solution = problem.solve(budget).expect("above the floor");
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "100,000 groups ({kind}): {seconds:.3} s, score {:.9}, gap {:.1e}, {:.9} of the budget used",
        solution.score,
        solution.gap,
        solution.cost / budget
    );
}
