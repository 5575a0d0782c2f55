//! What signals do to a run, and what the next run makes of what is left.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::directory::Directory;
use common::place::snapshot;
use common::runs::{BLOCK, LARGE, Runs, SMALL, Shares, end, rounds, send, stderr};
use qlua::write::PartialDirectory;

/// How a script ended that gets `signal` while it waits for input, started by a shell that runs `before` first.
fn signalled(before: &str, signal: i32) -> (std::process::ExitStatus, String) {
    let code = "print('ready') io.stdout:flush() io.read() for i = 1, 1e7 do end print('done')";
    let mut child = Command::new("sh")
        .args(["-c", &format!("{before}; exec \"$0\" -e \"$1\""), env!("CARGO_BIN_EXE_qlua"), code])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    send(&child, signal);
    // A process that has ended reads nothing.
    let _ = child.stdin.take().unwrap().write_all(b"go on\n");
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut out, &mut rest).unwrap();
    (child.wait().unwrap(), rest)
}

#[test]
fn signals_that_are_ignored_at_the_start_stay_ignored_and_others_end_the_run() {
    for (name, signal) in [("HUP", libc::SIGHUP), ("INT", libc::SIGINT), ("TERM", libc::SIGTERM)] {
        let (status, said) = signalled(&format!("trap '' {name}"), signal);
        assert_eq!((status.code(), said.as_str()), (Some(0), "done\n"), "{name}");
        let (status, said) = signalled("true", signal);
        assert_eq!((status.code(), said.as_str()), (Some(130), ""), "{name}");
    }
}

/// What was looked at to the end is told, of however many directories.
#[test]
fn an_interrupted_verify_tells_of_what_it_has_finished() {
    let place = tempfile::tempdir().unwrap();
    let demo = qlua::demo::build(&place.path().join("demo")).unwrap();
    let large = Directory::copy(&demo.model, &place.path().join("large"));
    large.add_sparse_weights("model.further.weight", 2_000_000_000);
    fs::rename(demo.model, place.path().join("small")).unwrap();
    // The small one is done after some time, and the large one is not.
    let told = [50, 100, 200, 400, 800, 1600, 3200, 6400].into_iter().find_map(|delay| {
        let child = Command::new(env!("CARGO_BIN_EXE_qlua"))
            .args(["verify", "small", "large", "missing", "--family"])
            .current_dir(&place)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        send(&child, libc::SIGINT);
        let output = child.wait_with_output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        let is_told = told.contains("small: ok\n") && told.contains("large: not looked at to the end\n");
        is_told.then(|| (output.status.code(), told, String::from_utf8(output.stderr).unwrap()))
    });
    let (code, told, err) = told.expect("a moment at which one is finished");
    assert_eq!((code, err.as_str()), (Some(130), "qlua: interrupted\n"));
    assert!(told.contains("missing: could not be looked at: `missing` does not exist"), "{told}");
    assert!(!told.contains("family"), "of a part nothing is known of the whole: {told}");
}

#[test]
fn a_quit_signal_ends_the_process_as_it_does_by_default() {
    let (status, said) = signalled("ulimit -c 0", libc::SIGQUIT);
    assert_eq!((status.signal(), said.as_str()), (Some(libc::SIGQUIT), ""));
}

/// How a script ended that runs `command` by `os.execute`, in a process group of its own that gets Ctrl-C as from a terminal once
/// the command has said so, and what it said.
fn interrupted_in_command(command: &str, run: &str) -> (Option<i32>, String, String) {
    let code = format!("local command = '{command}' {run} print('done')");
    let mut child = Command::new(env!("CARGO_BIN_EXE_qlua"))
        .args(["-e", &code])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    // SAFETY: the group was made by this child, which has not been waited for.
    unsafe { libc::kill(-(child.id() as i32), libc::SIGINT) };
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut out, &mut rest).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), rest, stderr(&output))
}

#[test]
fn what_ends_a_command_of_a_script_ends_the_script() {
    let started = Instant::now();
    let commands = [
        "echo ready; exec sleep 60",
        "(echo ready; exec sleep 60); true",
        "sleep 60 >/dev/null 2>&1 & trap \"kill $! 2>/dev/null; exit 130\" INT; echo ready; wait",
    ];
    let runs = ["os.execute(command)", "for _ = 1, 100 do pcall(os.execute, command) end"];
    for (command, run) in commands.iter().flat_map(|command| runs.map(|run| (command, run))) {
        let (code, said, complaint) = interrupted_in_command(command, run);
        assert_eq!(
            (code, said.as_str(), complaint.as_str()),
            (Some(130), "", "qlua: interrupted\n"),
            "{command}: {run}"
        );
    }
    assert!(started.elapsed() < Duration::from_secs(50), "no command was waited for");
}

/// As in a shell: who has a way of its own to take Ctrl-C, such as an editor, decides.
#[test]
fn a_command_that_goes_on_after_ctrl_c_leaves_the_script_to_go_on() {
    let run = "print(os.execute(command))";
    for (command, result) in [
        ("trap \"\" INT; echo ready; sleep 0.3", "true\texit\t0"),
        (
            "sleep 60 >/dev/null 2>&1 & trap \"kill $! 2>/dev/null; exit 7\" INT; echo ready; wait",
            "nil\texit\t7",
        ),
    ] {
        let (code, said, complaint) = interrupted_in_command(command, run);
        let expected = format!("{result}\ndone\n");
        assert_eq!((code, said, complaint.as_str()), (Some(0), expected, ""), "{command}");
    }
}

/// Stops a run in a large shard and goes on with what it had made.
fn resumed_after(signal: i32) {
    let runs = Runs::new(&LARGE);
    let points = ["60"];
    let whole = runs.finish(&points);
    assert_eq!(whole.resumed, 0);
    let expected = runs.hashes();
    let output = runs.stopped_in_a_shard(&points, signal, Runs::reset);
    let left = runs.hidden();
    if signal == libc::SIGINT {
        assert_eq!(output.status.code(), Some(130));
        assert_eq!(left, [".qlua.partial"], "no half scheme is left");
        let text = stderr(&output);
        assert!(text.contains("is kept in `out/.qlua.partial`: the same command goes on there"), "{text}");
        assert!(!text.lines().any(|line| line.ends_with(" s")), "nothing is said to be finished: {text}");
    }
    // The last block of a shard may be a short one, and is made again where nothing but the record is missing.
    let blocks: u64 = runs.blocks().iter().map(|blocks| blocks.saturating_sub(1) * BLOCK).sum();
    let counted = blocks + runs.finished_bytes();
    assert!(counted > 0, "{left:?}");
    let bytes = runs.finish(&points);
    assert!(bytes.resumed >= counted, "{bytes:?}, not {counted}");
    assert_eq!(bytes.written + bytes.resumed, whole.written, "nothing is written twice");
    assert_eq!(runs.hashes(), expected);
    assert_eq!(runs.hidden(), [""; 0]);
}

#[test]
fn a_killed_run_is_gone_on_with_in_the_middle_of_a_shard() {
    resumed_after(libc::SIGKILL);
}

#[test]
fn an_interrupted_run_is_gone_on_with_in_the_middle_of_a_shard() {
    resumed_after(libc::SIGINT);
}

#[test]
fn blocks_that_are_no_longer_as_they_were_are_made_again() {
    let runs = Runs::new(&LARGE);
    runs.finish(&["60"]);
    let expected = runs.hashes();
    runs.stopped_in_a_shard(&["60"], libc::SIGKILL, Runs::reset);
    for entry in fs::read_dir(runs.out().join(".qlua.partial")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "safetensors") {
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            (0..bytes.len()).step_by(100_000).for_each(|at| bytes[at] ^= 0x55);
            bytes[middle] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
    }
    assert_eq!(runs.finish(&["60"]).resumed, 0);
    assert_eq!(runs.hashes(), expected);
}

/// The weight files of `runs`, mapped, with every page waiting to go to the disk: no time tells of what is written to them next.
fn mapped_weights(runs: &Runs) -> Vec<memmap2::MmapMut> {
    let mut maps = Vec::new();
    for entry in fs::read_dir(runs.path().join("model")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "safetensors") {
            let file = fs::File::options().read(true).write(true).open(&path).unwrap();
            // SAFETY: nobody cuts the file short.
            let mut map = unsafe { memmap2::MmapMut::map_mut(&file) }.unwrap();
            map.chunks_mut(4096).for_each(|page| page[0] = std::hint::black_box(page[0]));
            maps.push(map);
        }
    }
    maps
}

#[test]
fn blocks_of_a_source_that_has_other_content_at_the_same_times_are_made_again() {
    let runs = Runs::new(&LARGE);
    let mut maps = mapped_weights(&runs);
    runs.stopped_in_a_shard(&["60"], libc::SIGKILL, Runs::reset);
    for map in &mut maps {
        let header = 8 + u64::from_le_bytes(map[..8].try_into().unwrap()) as usize;
        map[header..].iter_mut().step_by(1024).for_each(|low| *low ^= 0x41);
    }
    // Where the pages went to the disk meanwhile, the times are others, and what was finished may be refused.
    let output = runs.start(&["60"]).wait_with_output().unwrap();
    let resumed = output.status.success().then(|| runs.hashes());
    assert!(resumed.is_some() || stderr(&output).contains("on other inputs"), "{}", stderr(&output));
    runs.reset();
    runs.finish(&["60"]);
    assert!(resumed.is_none_or(|resumed| resumed == runs.hashes()), "blocks of another source were resumed");
}

/// Sends SIGINT to a run until it has ended, as impatient people do.
#[test]
fn a_second_interruption_leaves_nothing_that_a_later_run_cannot_use() {
    let runs = Runs::new(&LARGE);
    runs.finish(&["60"]);
    let expected = runs.hashes();
    for blocks in [0, 1, 3] {
        runs.reset();
        let mut child = runs.start(&["60"]);
        runs.wait_until(&mut child, |runs| match blocks {
            0 => !runs.hidden().is_empty(),
            _ => runs.blocks().iter().sum::<u64>() >= blocks,
        });
        while child.try_wait().unwrap().is_none() {
            send(&child, libc::SIGINT);
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(end(child).code(), Some(130));
        let left = runs.hidden();
        assert!(left.is_empty() || left == [".qlua.partial"], "{left:?}");
        assert!(!runs.out().join("top60").exists());
        if blocks > 0 {
            assert_eq!(left.len(), 1, "what was made is kept");
        }
        let bytes = runs.finish(&["60"]);
        assert!(bytes.resumed > 0 || blocks < 3, "{bytes:?}");
        assert_eq!(runs.hashes(), expected);
    }
}

/// Stops `count` runs at moments that are spread over a whole one, with each of several signals, and has each repeated. Gives
/// how many of the repeated runs gave other bytes or left something, how many were stopped before their end, and how many
/// went on with what was there.
fn kill(runs: &Runs, count: u32) -> [u32; 3] {
    const SIGNALS: [&[i32]; 4] =
        [&[libc::SIGKILL], &[libc::SIGTERM], &[libc::SIGINT], &[libc::SIGINT, libc::SIGINT]];
    let points = ["30", "60"];
    let begun = Instant::now();
    runs.finish(&points);
    let duration = begun.elapsed();
    let expected = runs.hashes();
    let mut shares = Shares(u64::from(rounds("QLUA_SEED", 7)));
    let [mut wrong, mut stopped, mut resumed] = [0; 3];
    for round in 0..count {
        runs.reset();
        let signals = SIGNALS[round as usize % SIGNALS.len()];
        let child = runs.start(&points);
        std::thread::sleep(duration.mul_f64(1.1 * shares.next()));
        for signal in signals {
            send(&child, *signal);
            std::thread::sleep(Duration::from_millis(1));
        }
        let output = child.wait_with_output().unwrap();
        stopped += u32::from(!output.status.success());
        // One that listens has no other end, unless the signal came before it listened.
        let is_clean = output.status.success()
            || output.status.code() == Some(130)
            || output.status.signal().is_some_and(|signal| signals.contains(&signal));
        let left = runs.hidden();
        let is_tidy = output.status.code() != Some(130) || left.is_empty() || left == [".qlua.partial"];
        let bytes = runs.finish(&points);
        resumed += u32::from(bytes.resumed + bytes.reused > 0);
        if !is_clean || !is_tidy || runs.hashes() != expected || !runs.hidden().is_empty() {
            wrong += 1;
            println!("round {round}, {signals:?}: {}, left {left:?}, then {bytes:?}", output.status);
        }
    }
    [wrong, stopped, resumed]
}

#[test]
fn runs_that_are_stopped_at_any_moment_are_repeated_to_the_same_bytes() {
    let [wrong, stopped, _] = kill(&Runs::new(&SMALL), 16);
    assert_eq!(wrong, 0);
    assert!(stopped > 0);
}

#[test]
#[ignore = "long: QLUA_KILLS kills, 1,000 unless it is set"]
fn many_runs_that_are_stopped_at_any_moment() {
    let kills = rounds("QLUA_KILLS", 1000);
    let [wrong, stopped, resumed] = kill(&Runs::new(&LARGE), kills);
    println!(
        "kills: {kills}, {wrong} wrong ({stopped} before the end, {resumed} runs went on with what was there)"
    );
    assert_eq!(wrong, 0);
}

#[test]
fn what_interrupted_runs_left_is_named_listed_and_removed_and_nothing_else_is() {
    let runs = Runs::new(&LARGE);
    let clean = |words: &[&str]| {
        let output = runs.command(&[&["clean", "out"], words].concat()).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    runs.stopped_in_a_shard(&["80"], libc::SIGKILL, |runs| {
        runs.reset();
        runs.finish(&["20"]);
    });
    assert_eq!(runs.hidden(), [".qlua.partial", ".top80.partial"]);

    // Another plan: what belongs to the first is kept, and said.
    let (_, said) = runs.finish_saying(&["40"]);
    assert!(said.contains("2 directories in `out` were left by interrupted runs: "), "{said}");
    assert!(said.contains("`qlua clean out` removes them"), "{said}");
    assert_eq!(runs.hidden(), [".qlua.partial", ".top80.partial"]);

    // What is not qlua's, and what a running process holds.
    let out = runs.out();
    fs::create_dir(out.join(".theirs.partial")).unwrap();
    fs::write(out.join(".theirs.partial/file"), "theirs").unwrap();
    fs::write(out.join(".file.partial"), "theirs").unwrap();
    fs::create_dir(out.join(".empty.partial")).unwrap();
    fs::create_dir(out.join(".theirs.replaced")).unwrap();
    fs::write(out.join(".theirs.replaced/config.json"), "{}").unwrap();
    let live = PartialDirectory::begin(&out.join("live"), false).unwrap();
    fs::write(live.path().join("file"), "mine").unwrap();
    // A scheme that was being replaced when its run was killed.
    fs::rename(out.join("top20"), out.join(".top20.replaced")).unwrap();

    let before = snapshot(runs.path());
    let listed = clean(&["--dry-run"]);
    assert_eq!(snapshot(runs.path()), before, "a dry run changes nothing");
    let names: Vec<&str> = listed.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(names, ["out/.qlua.partial", "out/.top20.replaced", "out/.top80.partial"], "{listed}");
    let fates: Vec<bool> = listed.lines().map(|line| line.ends_with(", would be removed")).collect();
    assert!(fates == [true, false, true] && listed.contains("would get its name again"), "{listed}");
    assert!(listed.contains(" MB, "), "{listed}");

    let removed = clean(&[]);
    assert!(removed.contains("out/.top20.replaced: ") && removed.contains("has its name again"), "{removed}");
    assert_eq!(
        runs.hidden(),
        [".empty.partial", ".file.partial", ".live.partial", ".theirs.partial", ".theirs.replaced"]
    );
    assert_eq!(fs::read(live.path().join("file")).unwrap(), b"mine");
    drop(live);
    for scheme in ["top20", "top40"] {
        assert_eq!(common::faults(&out.join(scheme)), [], "{scheme}");
    }
    assert_eq!(clean(&[]), "out: interrupted runs left nothing\n");
    let (_, said) = runs.finish_saying(&["20", "40"]);
    assert!(!said.contains("interrupted"), "{said}");
}
