//! Scoring runs that end before their time: what they have finished is not done again, and the scores are the same to the bit.

mod common;

use std::cell::{Cell, RefCell};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::tree;
use qlua::checkpoint::Checkpoint;
use qlua::demo::{Qwen25VlShape, VisionShape, write_checkpoint};
use qlua::engine::{
    BORDER_MEMORY, CandidateFormat, Cpu, Kept, Network, NetworkRun, Picture, Sample, ScoringRecord,
    Sensitivity, SpilledBorders, autoquant_group,
};
use qlua::format::Granularity;
use qlua::job::ScoringPlace;

fn candidates() -> [CandidateFormat; 2] {
    [Granularity::Tensor, Granularity::Channel].map(CandidateFormat::with_scales)
}

const SHAPE: Qwen25VlShape = Qwen25VlShape {
    hidden_size: 32,
    intermediate_size: 48,
    num_hidden_layers: 3,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    vocab_size: 288,
    mrope_section: [1, 1, 2],
    first_special_token: 256,
    max_position_embeddings: 128,
    vision: VisionShape {
        depth: 3,
        hidden_size: 16,
        num_heads: 2,
        intermediate_size: 24,
        patch_size: 2,
        temporal_patch_size: 2,
        in_channels: 3,
        spatial_merge_size: 2,
        window_size: 8,
        fullatt_block_indexes: &[1],
    },
    max_shard_bytes: 1 << 30,
};

/// How a run scores.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Method {
    Gradient,
    Kl,
    Calibration,
}

/// A model and samples for it.
struct Model {
    base: tempfile::TempDir,
    samples: Vec<Sample>,
}

impl Model {
    /// A random Qwen2.5-VL, with more samples than go through a block at once, the first with a picture.
    fn new(seed: u64) -> Self {
        let base = tempfile::tempdir().unwrap();
        write_checkpoint(&base.path().join("model"), &SHAPE, seed).unwrap();
        let config: serde_json::Value =
            serde_json::from_slice(&fs::read(base.path().join("model/config.json")).unwrap()).unwrap();
        let image = config["image_token_id"].as_u64().unwrap() as u32;
        Model { base, samples: samples(image, [1, 4, 4], 3 * 2 * 2 * 2) }
    }

    fn directory(&self) -> PathBuf {
        self.base.path().join("model")
    }

    fn out(&self) -> PathBuf {
        self.base.path().join("out")
    }
}

/// Two samples with a picture of `grid` patches, and one without that fills a chunk of its own.
fn samples(image: u32, grid: [usize; 3], patch_values: usize) -> Vec<Sample> {
    let text = |count: usize, seed: u32| (0..count as u32).map(move |at| (at * at + seed * at + 3) % 37);
    let patches: usize = grid.iter().product();
    let with_picture = |seed: u32| {
        let values = (0..patches * patch_values).map(|at| ((at as u32 * 7 + seed) % 23) as f32 / 11.0 - 1.0);
        let tokens = text(5, seed).chain([image; 64].into_iter().take(patches / 4)).chain(text(9, seed + 1));
        Sample { tokens: tokens.collect(), pictures: vec![Picture { grid, patches: values.collect() }] }
    };
    let long = Sample { tokens: text(1020, 5).collect(), pictures: vec![] };
    vec![with_picture(1), long, with_picture(2)]
}

/// Without the long sample, which takes most of the time.
fn short(samples: &[Sample]) -> Vec<Sample> {
    [&samples[..1], &samples[2..]].concat()
}

/// What a run gives, as bits.
fn bits(found: &Sensitivity) -> Vec<u64> {
    let layers = found.layers.iter().flat_map(|layer| {
        let amax = [layer.weight_amax, layer.input_amax].map(|amax| u64::from(amax.to_bits()));
        let figures = layer.scores.iter().chain(&layer.output_errors).chain([&layer.input_rms]);
        amax.into_iter().chain(figures.map(|figure| figure.to_bits()))
    });
    layers.chain(found.losses.iter().map(|loss| loss.to_bits())).collect()
}

fn with_run<T>(directory: &Path, samples: &[Sample], action: impl FnOnce(&NetworkRun<Cpu>) -> T) -> T {
    let checkpoint = Checkpoint::open(directory).unwrap();
    let network = Network::open(&checkpoint).unwrap();
    action(&NetworkRun::new(&network, &Cpu, samples).unwrap())
}

/// Scores without a record.
fn plain(directory: &Path, samples: &[Sample], method: Method) -> Sensitivity {
    with_run(directory, samples, |run| match method {
        Method::Gradient => run.gradient_scores(&candidates(), &mut Kept::default(), &mut || ()).unwrap(),
        Method::Kl => run.kl_scores(&candidates(), &autoquant_group, &mut || ()).unwrap(),
        Method::Calibration => run.calibrate(&mut || ()).unwrap(),
    })
}

/// Scores with a record in `out`, and what was said of it; `done` is called after each block or group.
fn recorded(
    directory: &Path,
    samples: &[Sample],
    out: &Path,
    method: Method,
    memory: u64,
    done: &mut dyn FnMut(),
) -> (Sensitivity, Vec<String>) {
    let place = ScoringPlace::take(out, "scores").unwrap();
    let notes = RefCell::new(vec![]);
    let note = |said: &str| notes.borrow_mut().push(said.to_string());
    let record = ScoringRecord { directory: place.directory(), memory, note: &note };
    let found = with_run(directory, samples, |run| match method {
        Method::Gradient => run.gradient_scores_recorded(&candidates(), &record, done).unwrap(),
        Method::Kl => run.kl_scores_recorded(&candidates(), &autoquant_group, &record, done).unwrap(),
        Method::Calibration => run.calibrate_recorded(&record, done).unwrap(),
    });
    (found, notes.into_inner())
}

/// Ends runs after each of their blocks or groups, and goes on after each: the scores are those of a run that nothing ends.
fn goes_on_after_every_step(directory: &Path, samples: &[Sample], out: &Path, method: Method) {
    let want = plain(directory, samples, method);
    let mut steps = 0;
    let whole = recorded(directory, samples, out, method, BORDER_MEMORY, &mut || steps += 1);
    assert_eq!(bits(&want), bits(&whole.0), "{method:?}");
    assert!(whole.1.is_empty(), "{:?}", whole.1);
    fs::remove_dir_all(out).unwrap();
    let mut ended = 0;
    // Each run gets one step further than the one before, so that every step is the first of a run that goes on.
    for most in 1..=steps {
        let memory = if most % 2 == 0 { 0 } else { BORDER_MEMORY };
        let count = Cell::new(0);
        let mut done = || {
            count.set(count.get() + 1);
            assert!(count.get() < most, "ended on purpose");
        };
        let run = AssertUnwindSafe(|| recorded(directory, samples, out, method, memory, &mut done));
        ended += usize::from(catch_unwind(run).is_err());
    }
    assert_eq!(ended, steps);
    let (found, notes) = recorded(directory, samples, out, method, 0, &mut || ());
    assert_eq!(bits(&want), bits(&found), "{method:?}");
    assert!(notes.len() == 1 && notes[0].contains("scoring goes on after "), "{notes:?}");
}

#[test]
fn gradient_scores_go_on_after_every_block() {
    let model = Model::new(1);
    goes_on_after_every_step(&model.directory(), &model.samples, &model.out(), Method::Gradient);
}

#[test]
fn kl_scores_go_on_after_every_block_and_group() {
    let model = Model::new(2);
    goes_on_after_every_step(&model.directory(), &short(&model.samples), &model.out(), Method::Kl);
}

/// Qwen3-VL adds features of its tower to the first blocks of its language model: they are on record too.
#[test]
fn calibration_goes_on_after_samples_and_gives_the_same_in_batches_of_any_size() {
    let model = Model::new(7);
    let (directory, out) = (model.directory(), model.out());
    let want = plain(&directory, &model.samples, Method::Calibration);
    // Without memory each chunk goes alone: the long sample, and those before and behind it.
    let chunks = 3;
    let blocks = [6, 3, 6];
    for ended_after in 0..chunks {
        let most = blocks[..=ended_after].iter().sum::<usize>();
        let count = Cell::new(0);
        let mut done = || {
            count.set(count.get() + 1);
            assert!(count.get() < most, "ended on purpose");
        };
        let run = || recorded(&directory, &model.samples, &out, Method::Calibration, 0, &mut done);
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
        for memory in [0, BORDER_MEMORY] {
            let copy = model.base.path().join(format!("copy-{ended_after}-{memory}"));
            let copied = Command::new("cp").arg("-a").arg(&out).arg(&copy).status();
            if ended_after > 0 {
                assert!(copied.unwrap().success());
            }
            let (found, notes) =
                recorded(&directory, &model.samples, &copy, Method::Calibration, memory, &mut || ());
            assert_eq!(bits(&want), bits(&found));
            let names =
                |found: &Sensitivity| found.layers.iter().map(|layer| layer.name.clone()).collect::<Vec<_>>();
            assert_eq!(names(&want), names(&found));
            let said = format!("calibration goes on after {ended_after} of 3 samples");
            assert_eq!(notes.iter().any(|note| note.ends_with(&said)), ended_after > 0, "{notes:?}");
        }
    }
}

#[test]
fn features_of_deepstack_are_on_record() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/engine/qwen3_vl");
    if !directory.exists() {
        eprintln!("SKIPPED: {} is not there, and this test needs it", directory.display());
        return;
    }
    let config: serde_json::Value =
        serde_json::from_slice(&fs::read(directory.join("config.json")).unwrap()).unwrap();
    let number = |of: &serde_json::Value, name: &str| of[name].as_u64().unwrap() as usize;
    let vision = &config["vision_config"];
    let values = 3 * number(vision, "temporal_patch_size") * number(vision, "patch_size").pow(2);
    let all = samples(number(&config, "image_token_id") as u32, [1, 4, 4], values);
    let samples = short(&all);
    for method in [Method::Gradient, Method::Kl] {
        let base = tempfile::tempdir().unwrap();
        goes_on_after_every_step(&directory, &samples, &base.path().join("out"), method);
    }
}

#[test]
fn borders_in_a_file_give_the_same_as_borders_in_memory() {
    let model = Model::new(3);
    let want = plain(&model.directory(), &model.samples, Method::Gradient);
    for limit in [0, 200_000] {
        let mut borders = SpilledBorders::new(limit, model.base.path());
        let found = with_run(&model.directory(), &model.samples, |run| {
            run.gradient_scores(&candidates(), &mut borders, &mut || ()).unwrap()
        });
        assert!(borders.spilled() > 0);
        assert_eq!(bits(&want), bits(&found), "at most {limit} bytes in memory");
    }
}

/// A record of other weights, samples or methods is not used, nor is one that was damaged.
#[test]
fn what_another_run_has_finished_is_not_used() {
    let (model, other) = (Model::new(4), Model::new(5));
    let samples = &model.samples[..1];
    let (directory, out) = (model.directory(), model.out());
    let run = |directory: &Path, samples: &[Sample], method| {
        recorded(directory, samples, &out, method, BORDER_MEMORY, &mut || ())
    };
    let is_replaced = |why: &str, (found, notes): (Sensitivity, Vec<String>), want: Sensitivity| {
        assert_eq!(bits(&want), bits(&found), "{why}");
        assert!(notes.len() == 1 && notes[0].contains(why) && notes[0].ends_with("replaced"), "{notes:?}");
    };
    run(&directory, samples, Method::Gradient);
    let want = plain(&other.directory(), samples, Method::Gradient);
    is_replaced("of another run", run(&other.directory(), samples, Method::Gradient), want);
    let more = &model.samples[..2];
    let want = plain(&other.directory(), more, Method::Gradient);
    is_replaced("of another run", run(&other.directory(), more, Method::Gradient), want);
    let want = plain(&directory, samples, Method::Kl);
    is_replaced("of another run", run(&directory, samples, Method::Kl), want);

    // Nor is one of other formats, or of samples that others calibrated.
    let all = candidates();
    let one = &all[..1];
    let with_others = |calibrated: bool, why: &str| {
        let place = ScoringPlace::take(&out, "scores").unwrap();
        let notes = RefCell::new(vec![]);
        let note = |said: &str| notes.borrow_mut().push(said.to_string());
        let record = ScoringRecord { directory: place.directory(), memory: BORDER_MEMORY, note: &note };
        let calibration = plain(&directory, &model.samples[..2], Method::Calibration);
        let checkpoint = Checkpoint::open(&directory).unwrap();
        let network = Network::open(&checkpoint).unwrap();
        let new = || {
            let run = NetworkRun::new(&network, &Cpu, samples).unwrap();
            if calibrated { run.with_calibration(calibration.clone()) } else { run }
        };
        let found = new().gradient_scores_recorded(one, &record, &mut || ()).unwrap();
        let want = new().gradient_scores(one, &mut Kept::default(), &mut || ()).unwrap();
        is_replaced(why, (found, notes.take()), want);
    };
    run(&directory, samples, Method::Gradient);
    with_others(false, "of another run");
    with_others(true, "of another run");

    run(&directory, samples, Method::Kl);
    let record = out.join(".scores.scoring.partial");
    for (name, bytes) in tree(&record) {
        if bytes.is_empty() {
            continue;
        }
        run(&directory, samples, Method::Kl);
        let mut damaged = bytes.clone();
        damaged[bytes.len() / 3] ^= 4;
        fs::write(record.join(&name), damaged).unwrap();
        let want = plain(&directory, samples, Method::Kl);
        is_replaced("damaged", run(&directory, samples, Method::Kl), want);
    }
}

/// Writes the scores of `model`; run by [`killed_runs_go_on_at_any_number_of_threads`] in processes that are killed.
#[test]
#[ignore = "is a process of another test"]
fn scoring_process() {
    let Ok(place) = std::env::var("QLUA_TEST_SCORING") else { return };
    let place = PathBuf::from(place);
    let threads = std::env::var("QLUA_TEST_THREADS").unwrap().parse().unwrap();
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().unwrap();
    let image = std::env::var("QLUA_TEST_IMAGE").unwrap().parse().unwrap();
    let samples = short(&samples(image, [1, 4, 4], 3 * 2 * 2 * 2));
    let slow = &mut || std::thread::sleep(Duration::from_millis(15));
    let (found, _) =
        recorded(&place.join("model"), &samples, &place.join("out"), Method::Gradient, BORDER_MEMORY, slow);
    let text: Vec<String> = bits(&found).iter().map(|bits| format!("{bits:016x}\n")).collect();
    fs::write(place.join("scores.new"), text.concat()).unwrap();
    fs::rename(place.join("scores.new"), place.join("scores")).unwrap();
}

#[test]
fn killed_runs_go_on_at_any_number_of_threads() {
    let model = Model::new(6);
    let place = model.base.path();
    let image = model.samples[0].tokens[5];
    let samples = short(&model.samples);
    let want: Vec<String> = bits(&plain(&model.directory(), &samples, Method::Gradient))
        .iter()
        .map(|bits| format!("{bits:016x}\n"))
        .collect();
    let start = |threads: usize| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "scoring_process", "--ignored"])
            .env("QLUA_TEST_SCORING", place)
            .env("QLUA_TEST_THREADS", threads.to_string())
            .env("QLUA_TEST_IMAGE", image.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let finish = |threads: usize| {
        assert!(start(threads).wait().unwrap().success());
        assert_eq!(fs::read_to_string(place.join("scores")).unwrap(), want.concat(), "{threads} threads");
        fs::remove_file(place.join("scores")).unwrap();
        fs::remove_dir_all(model.out()).unwrap();
    };
    let whole = Instant::now();
    finish(2);
    let whole = whole.elapsed();
    let (mut kills, mut random) = (0, 0x2545_f491_4f6c_dd1du64);
    for round in 0.. {
        // Three kills, and then a run that comes to its end, each with another number of threads.
        for kill in 0..3 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut child = start([1, 2, 5][(round + kill) % 3]);
            std::thread::sleep(whole.mul_f64((random >> 33) as f64 / (1u64 << 31) as f64 * 0.6));
            // Some may have come to their end.
            child.kill().unwrap();
            kills += usize::from(!child.wait().unwrap().success());
        }
        finish([5, 1, 2][round % 3]);
        if kills >= 20 {
            break;
        }
    }
}
