use super::*;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// An instance of one of several kinds: few or many distinct costs, ties, scores of 0, infinity and NaN, below 0, tiny and
/// huge, costs that follow the scores.
fn instance(random: &mut Random, kind: u64) -> Vec<Vec<Choice>> {
    let groups = 1 + random.below(11) as usize;
    let choice = |random: &mut Random| {
        let (score, cost) = match kind {
            0 => (random.below(5) as f64, random.below(5) as f64),
            1 => (random.unit(), random.unit()),
            2 => (10f64.powf(20.0 * random.unit() - 10.0), (1 + random.below(4)) as f64 * 819_200.0),
            3 => {
                let cost = random.below(1000) as f64;
                (1000.0 - cost + random.below(10) as f64, cost)
            }
            4 => (random.unit() - 0.5, random.below(100) as f64 * 0.28125),
            5 => match random.below(4) {
                0 => (f64::INFINITY, random.below(9) as f64),
                1 => (f64::NAN, random.below(9) as f64),
                _ => (random.below(9) as f64, random.below(9) as f64),
            },
            6 => (random.unit() * 1e300, random.unit() * 1e-300),
            _ => (1000.0, random.below(50) as f64),
        };
        Choice { score, cost }
    };
    let group = |random: &mut Random| {
        let mut choices: Vec<Choice> = (0..1 + random.below(4)).map(|_| choice(random)).collect();
        if !choices.iter().any(|c| c.score.is_finite()) {
            choices[0].score = 3.0;
        }
        choices
    };
    (0..groups).map(|_| group(random)).collect()
}

/// The least score of every budget, by trying all combinations: (cost, score) of each.
fn all(groups: &[Vec<Choice>]) -> Vec<(f64, f64)> {
    groups.iter().fold(vec![(0.0, 0.0)], |sums, group| {
        let usable = || group.iter().filter(|c| c.score.is_finite());
        sums.iter()
            .flat_map(|(cost, score)| usable().map(move |c| (cost + c.cost, score + c.score)))
            .collect()
    })
}

#[test]
fn two_thousand_random_instances_equal_brute_force() {
    let mut random = Random(5);
    let mut solved = 0;
    for number in 0..2_000 {
        let groups = instance(&mut random, number % 8);
        let everything = all(&groups);
        let problem = Knapsack::new(groups.clone()).unwrap();
        let floor = everything.iter().map(|(cost, _)| *cost).fold(f64::INFINITY, f64::min);
        let most = everything.iter().map(|(cost, _)| *cost).fold(0.0, f64::max);
        assert_eq!(problem.floor(), floor);
        // A budget that is met exactly, one at random, and the bounds.
        let met = everything[random.below(everything.len() as u64) as usize].0;
        for budget in [met, floor + (most - floor) * random.unit(), floor, most * 1.5] {
            let Some(solution) = problem.solve(budget) else {
                assert!(budget < floor, "instance {number}: {budget} is not below {floor}");
                continue;
            };
            let tolerance = budget * 2f64.powi(-50);
            let fitting = everything.iter().filter(|(cost, _)| *cost <= budget + tolerance);
            let best = fitting.map(|(_, score)| *score).fold(f64::INFINITY, f64::min);
            let chosen = groups.iter().zip(&solution.choices).map(|(g, &c)| g[c]);
            let (cost, score) = chosen.fold((0.0, 0.0), |(cost, score), c| (cost + c.cost, score + c.score));
            assert_eq!((solution.cost, solution.score), (cost, score), "instance {number}");
            assert!(cost <= budget + 2.0 * tolerance, "instance {number}: {cost} exceeds {budget}");
            let tolerance = 1e-12 * best.abs().max(score.abs());
            assert!((score - best).abs() <= tolerance, "instance {number}: {score} instead of {best}");
            // Nothing is open but what scores of twenty orders of magnitude, or beside costs of all sizes, lose as integers.
            let lost = [0.0, 1e-15, 1e-9, 0.0, 0.0, 0.0, 1e-15, 0.0][number as usize % 8];
            assert!(solution.gap <= lost, "instance {number}: the gap is {}", solution.gap);
            solved += 1;
        }
    }
    assert!(solved > 7_900, "{solved} budgets were solved");
}

#[test]
fn a_budget_below_the_floor_has_no_solution_and_one_above_the_ceiling_has_the_best() {
    let choice = |score, cost| Choice { score, cost };
    let groups = vec![vec![choice(1.0, 2.0), choice(0.0, 4.0)], vec![choice(3.0, 1.0), choice(0.0, 2.0)]];
    let problem = Knapsack::new(groups).unwrap();
    assert_eq!((problem.floor(), problem.ceiling()), (3.0, 6.0));
    for budget in [2.99, -1.0, f64::NEG_INFINITY, f64::NAN] {
        assert_eq!(problem.solve(budget), None, "{budget}");
    }
    for budget in [6.0, 1e300, f64::INFINITY] {
        let solution = problem.solve(budget).unwrap();
        assert_eq!((solution.choices, solution.score, solution.gap), (vec![1, 1], 0.0, 0.0));
    }
    assert_eq!(problem.solve(5.0).unwrap().choices, [0, 1]);
    assert_eq!(problem.solve(3.99).unwrap().choices, [0, 0]);
}

#[test]
fn what_is_no_problem_is_refused() {
    let of = |score, cost| Knapsack::new(vec![vec![Choice { score, cost }]]).map(|_| ());
    assert!(of(f64::NAN, 1.0).unwrap_err().to_string().contains("no choice with a finite score"));
    for cost in [-1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(of(0.0, cost).unwrap_err().kind(), "argument");
    }
    assert_eq!(Knapsack::new(vec![]).unwrap().solve(0.0).unwrap().choices, [0; 0]);
}

/// A core that may not grow: whatever is found then, the bound holds.
#[test]
fn the_gap_is_proven_when_the_core_outgrows_its_limits() {
    let mut random = Random(9);
    let mut open = 0;
    for _ in 0..300 {
        let groups: Vec<Vec<Choice>> = (0..12)
            .map(|_| {
                let cost = 500.0 + random.below(100) as f64;
                vec![
                    Choice { score: cost + random.below(30) as f64, cost },
                    Choice { score: 0.0, cost: 2.0 * cost },
                ]
            })
            .collect();
        let problem = Knapsack::new(groups.clone()).unwrap();
        let budget = problem.floor() + 0.4 * (problem.ceiling() - problem.floor());
        let best = all(&groups).iter().filter(|s| s.0 <= budget).map(|s| s.1).fold(f64::INFINITY, f64::min);
        let solution = problem.solve_within(budget, CoreLimits { states: 4, decisions: 30 }).unwrap();
        assert!(solution.score >= best && solution.cost <= budget);
        assert!(solution.score <= best * (1.0 + solution.gap) * (1.0 + 1e-12), "{solution:?}: {best}");
        open += usize::from(solution.gap > 0.0);
    }
    assert!(open > 50, "{open} cores outgrew the limits");
}

#[test]
fn every_supported_solution_is_optimal_for_its_own_cost() {
    let mut random = Random(3);
    for kind in 0..5 {
        for _ in 0..50 {
            let groups = instance(&mut random, kind);
            let problem = Knapsack::new(groups.clone()).unwrap();
            let (mut choices, steps) = problem.supported();
            let sum = |choices: &[usize], of: fn(&Choice) -> f64| -> f64 {
                groups.iter().zip(choices).map(|(group, &choice)| of(&group[choice])).sum()
            };
            let check = |choices: &[usize]| {
                let (cost, score) = (sum(choices, |c| c.cost), sum(choices, |c| c.score));
                let best = problem.solve(cost * (1.0 + 1e-14)).unwrap().score;
                assert!((score - best).abs() <= 1e-12 * (score.abs() + best.abs()), "{score} {best}");
                cost
            };
            let mut cost = check(&choices);
            assert_eq!(cost, problem.ceiling());
            for step in steps {
                choices[step.group] = step.choice;
                let next = check(&choices);
                assert!(next < cost);
                cost = next;
            }
            assert_eq!(cost, problem.floor());
        }
    }
}
