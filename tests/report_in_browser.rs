//! The report in a real browser: nothing in the console, nothing cut off, nothing on top of something else.
//!
//! Needs Chromium; skips loudly where there is none. Screenshots stay in `target/tmp/report` to be looked at.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::report::{
    of_demo, of_published_manifest, of_two_families, of_unrelated_schemes, page as page_of, place,
    with_errors,
};

/// Runs in a copy of the page and logs what it asks for and what is wrong with its layout.
const PROBE: &str = include_str!("report/probe.js");

/// The browser, where there is one.
fn browser() -> Option<&'static str> {
    let found = ["chromium", "chromium-browser", "google-chrome", "chrome"]
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success()));
    if found.is_none() {
        eprintln!(
            "SKIPPED: no Chromium, and this test looks at the report in one (apt-get install chromium)"
        );
    }
    found
}

/// How a page is looked at.
#[derive(Clone, Copy)]
struct View {
    width: u32,
    dark: bool,
}

/// Opens `page` in a window of `view` and gives what the console says; a screenshot goes to `screenshot`.
fn open(browser: &str, page: &Path, view: View, screenshot: &Path) -> Vec<String> {
    let profile = tempfile::tempdir().unwrap();
    let _ = fs::remove_file(screenshot);
    let mut command = Command::new(browser);
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"])
        .args(["--enable-logging=stderr", "--v=0", "--no-first-run", "--disable-extensions"])
        // Nothing may be fetched: every name fails to resolve.
        .args(["--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=3000"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--window-size={},1400", view.width))
        .arg(format!("--screenshot={}", screenshot.display()));
    if view.dark {
        command.arg("--blink-settings=preferredColorScheme=0");
    }
    let output = command.arg(format!("file://{}", page.display())).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(screenshot.exists(), "{browser} made no screenshot:\n{log}");
    log.lines().filter(|l| l.contains("CONSOLE")).map(String::from).collect()
}

/// The distinct colours of a screenshot, and the one in its upper left corner.
fn colours(screenshot: &Path) -> (usize, [u8; 3]) {
    let mut reader =
        png::Decoder::new(std::io::BufReader::new(fs::File::open(screenshot).unwrap())).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    let step = info.color_type.samples();
    let colours: BTreeSet<[u8; 3]> =
        pixels[..info.buffer_size()].chunks_exact(step).map(|p| [p[0], p[1], p[2]]).collect();
    (colours.len(), [pixels[0], pixels[1], pixels[2]])
}

/// `html` as a file, and a copy of it that examines itself.
fn pages(name: &str, html: &str) -> (PathBuf, PathBuf) {
    let (page, probed) = (place().join(format!("{name}.html")), place().join(format!("{name}-probed.html")));
    fs::write(&page, html).unwrap();
    fs::write(&probed, html.replacen("<title>", &format!("<script>\n{PROBE}</script>\n<title>"), 1)).unwrap();
    (page, probed)
}

/// What is wrong with the layout at `width`, as the probe says; the page stands in a frame, because a window of the browser
/// has a least width.
fn layout_problems(browser: &str, probed: &Path, width: u32) -> Vec<String> {
    let frame = probed.with_extension(format!("{width}.html"));
    let name = probed.file_name().unwrap().to_str().unwrap();
    let html =
        format!("<iframe src=\"{name}\" style=\"border:0\" width=\"{width}\" height=\"20000\"></iframe>");
    fs::write(&frame, html).unwrap();
    let view = View { width: width.max(500) + 20, dark: false };
    let log = open(browser, &frame, view, &frame.with_extension("png"));
    let done = log.iter().filter(|l| l.contains("probe: done")).count();
    assert_eq!(done, 1, "the probe did not finish: {log:?}");
    log.into_iter().filter(|l| !l.contains("probe: done")).collect()
}

#[test]
fn reports_render_without_console_messages_in_light_and_dark() {
    let Some(browser) = browser() else { return };
    let demo = tempfile::tempdir().unwrap();
    let html = page_of(&with_errors(of_demo(demo.path()))).to_html();
    let (page, _) = pages("demo", &html);
    for (dark, corner) in [(false, [0xfb, 0xfb, 0xf9]), (true, [0x14, 0x17, 0x1b])] {
        let screenshot = place().join(if dark { "demo-dark.png" } else { "demo-light.png" });
        let log = open(browser, &page, View { width: 1200, dark }, &screenshot);
        assert!(log.is_empty(), "the console is not empty: {log:?}");
        let (count, found) = colours(&screenshot);
        assert!(count > 50, "only {count} colours: the page is blank");
        assert_eq!(found, corner, "the background of the colour scheme");
    }
}

#[test]
fn nothing_overlaps_or_is_cut_off_at_any_width() {
    let Some(browser) = browser() else { return };
    let demo = tempfile::tempdir().unwrap();
    let unrelated = tempfile::tempdir().unwrap();
    let families = tempfile::tempdir().unwrap();
    let mut reports = vec![
        ("demo", page_of(&with_errors(of_demo(demo.path())))),
        ("families", of_two_families(families.path())),
        ("unrelated", page_of(&of_unrelated_schemes(unrelated.path()))),
    ];
    for (name, file) in
        [("qwen2_5", "qwen2_5_vl_3b_all_layers_fp8.json"), ("qwen3", "qwen3_vl_4b_all_layers_fp8.json")]
    {
        reports.extend(of_published_manifest(file).map(|s| (name, page_of(&with_errors(s)))));
    }
    // The browser takes its time for each page, and not all of it on a core.
    std::thread::scope(|scope| {
        for (name, report) in reports {
            scope.spawn(move || {
                let (_, probed) = pages(name, &report.to_html());
                for width in [390, 800, 1440] {
                    let problems = layout_problems(browser, &probed, width);
                    assert!(problems.is_empty(), "{name} at {width} px:\n{}", problems.join("\n"));
                }
            });
        }
    });
}

/// The checks above can fail: pages with one defect each.
#[test]
fn broken_pages_are_noticed() {
    let Some(browser) = browser() else { return };
    let view = View { width: 1200, dark: false };
    let broken =
        [("error", "<script>nowhere()</script>"), ("logged", "<script>console.error('oh')</script>")];
    for (name, body) in broken {
        let page = place().join(format!("broken-{name}.html"));
        fs::write(&page, format!("<!DOCTYPE html><title>t</title><body>{body}</body>")).unwrap();
        let log = open(browser, &page, view, &page.with_extension("png"));
        assert!(!log.is_empty(), "{name} went unnoticed");
        assert!(colours(&page.with_extension("png")).0 <= 50, "{name} counts as a page with content");
    }
    let layouts = [
        ("missing", "<img src=\"nowhere.png\">"),
        ("network", "<script src=\"https://qlua.invalid/x.js\"></script>"),
        ("wide", "<div style=\"width:3000px\">wide</div>"),
        (
            "overlap",
            "<svg viewBox=\"0 0 100 40\"><text x=\"5\" y=\"20\">one text</text><text x=\"9\" y=\"22\">other</text></svg>",
        ),
        ("cut-off", "<svg viewBox=\"0 0 100 40\"><text x=\"90\" y=\"20\">cut off</text></svg>"),
    ];
    for (name, body) in layouts {
        let (_, probed) =
            pages(&format!("broken-{name}"), &format!("<!DOCTYPE html><title>t</title><body>{body}</body>"));
        assert!(!layout_problems(browser, &probed, 800).is_empty(), "{name} went unnoticed");
    }
    let (_, sound) = pages("sound", "<!DOCTYPE html><title>t</title><body><p>sound</p></body>");
    assert!(layout_problems(browser, &sound, 800).is_empty(), "a sound page counts as broken");
}
