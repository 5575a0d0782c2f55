//! What files that lie beside the schemes of a family are called: no scheme can take such a name.

/// The report's page.
pub const REPORT_HTML: &str = "report.html";
/// The report's Markdown.
pub const REPORT_MARKDOWN: &str = "report.md";
/// What was measured of the schemes.
pub(super) const QUALITY: &str = "quality.json";
