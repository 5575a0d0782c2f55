//! Markdown taken apart: fenced blocks, and what is outside of them.

/// A fenced block.
#[derive(Debug)]
pub struct Block<'a> {
    /// The first word after the opening fence.
    pub language: &'a str,
    pub text: String,
    /// The number of the line of the opening fence.
    pub line: usize,
}

/// The fenced blocks of a page in their order, and the lines outside of them.
pub fn blocks(page: &str) -> Result<(Vec<Block<'_>>, Vec<&str>), String> {
    let (mut blocks, mut prose) = (Vec::new(), Vec::new());
    let mut open: Option<Block> = None;
    for (at, line) in page.lines().enumerate() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(info)) => {
                let language = info.split_whitespace().next().unwrap_or_default();
                open = Some(Block { language, text: String::new(), line: at + 1 });
            }
            (None, None) => prose.push(line),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
        }
    }
    match open {
        Some(block) => Err(format!("{}: a block without an end", block.line)),
        None => Ok((blocks, prose)),
    }
}

impl Block<'_> {
    /// The name that a block is to be saved under: the comment in its first line is that and nothing else then.
    pub fn file_name(&self) -> Option<&str> {
        let (comment, ending) = match self.language {
            "lua" => ("-- ", ".lua"),
            "toml" => ("# ", ".toml"),
            _ => return None,
        };
        let name = self.text.lines().next()?.strip_prefix(comment)?;
        (name.ends_with(ending) && !name.contains([' ', '/'])).then_some(name)
    }

    /// The commands of a block of shell lines; a line that ends in `\` goes on with the next one.
    pub fn commands(&self) -> Vec<String> {
        let joined = self.text.replace("\\\n", " ");
        let lines = joined.lines().map(str::trim);
        let lines = lines.filter_map(|line| match self.language {
            "console" => line.strip_prefix("$ "),
            _ => Some(line),
        });
        lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(String::from).collect()
    }
}
