//! The kernel's own enforcement hides what the paths alone let through, so the same ways are tried where it has none.

use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

use super::escapes::ESCAPES;
use super::{Place, for_all, judge};

/// What `code` does in a sandbox of a kernel without Landlock.
fn run(place: &Place, code: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qlua"));
    command.args(["-v", "--sandbox", "--read", "read", "--write", "write", "-e", code]);
    command.current_dir(place.path()).stdin(Stdio::null());
    // SAFETY: the closure makes two calls of the system and allocates nothing.
    unsafe { command.pre_exec(deny_landlock) };
    command.output().unwrap()
}

#[test]
fn no_script_gets_out_of_a_sandbox_without_landlock() {
    let place = Place::new();
    let before = place.state();
    for_all(ESCAPES, |(name, code)| {
        let code = code.replace("PLACE", &place.path().display().to_string());
        let code = format!("{code}\nerror('nothing was reached')");
        judge(name, &run(&place, &code))
    });
    assert_eq!(place.state(), before);
}

/// A glob looks for names in directories alone that may be read, wherever links lead; whoever spells a path out knows it.
#[test]
fn a_glob_tells_the_same_without_landlock() {
    let place = Place::new();
    for (pattern, expected) in [
        ("read/*.txt", "read/file.txt"),
        ("read/d*", "read/deep"),
        ("./read/deep/../f*", "read/deep/../file.txt"),
        ("PLACE/read/f*", "PLACE/read/file.txt"),
        ("read/up/read/file.txt", "read/up/read/file.txt"),
        ("read/**/file.txt", "read/file.txt"),
        ("read/**/manifest.json", "read/manifest.json"),
        ("read/*/*/file.txt", ""),
        ("read/u?/r*/file.txt", ""),
        ("read/up/*", ""),
        ("read/*/read", ""),
        ("*", ""),
        ("*/file.txt", ""),
        ("PLACE/*", ""),
        ("PLACE/re*/file.txt", ""),
        ("d*/../read/file.txt", ""),
        ("/*/*", ""),
    ] {
        let filled = |text: &str| text.replace("PLACE", &place.path().display().to_string());
        let code = format!("print(table.concat(qlua.fs.glob('{}'), ' '))", filled(pattern));
        let output = run(&place, &code);
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim_end(),
            filled(expected),
            "{pattern}: {output:?}"
        );
        assert!(String::from_utf8_lossy(&output.stderr).contains("this kernel has no Landlock"));
        let enforced = place.run(&["--sandbox", "--read", "read", "--write", "write", "-e", &code]);
        assert_eq!(enforced.stdout, output.stdout, "{pattern}: {enforced:?}");
    }
}

/// Makes the calls of Landlock answer that there is none, for this process and those it starts.
fn deny_landlock() -> std::io::Result<()> {
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut filter = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 2, 444),
        step(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, 1, 0, 446),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 5, filter: filter.as_mut_ptr() };
    // SAFETY: the filter outlives both calls, and is as long as it says.
    let denied = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) == 0
    };
    if denied { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
