//! Scales as any tool stores them: of whatever dtype and shape, also for stacked weights.

use super::scale::Scales;
use super::scale_grid::{BLOCK_SIZE, Granularity};
use crate::tensor::{Dtype, Tensor};
use crate::{Error, Result};

/// Codes as matrices: how many are stacked, and the rows and columns of each.
#[derive(Debug, Clone, Copy)]
struct Stack {
    matrices: usize,
    rows: usize,
    columns: usize,
}

impl Scales {
    /// The scales of codes of shape `codes`, `[out, in]` or stacked `[expert, out, in]`, read from `tensor`: one value, one for
    /// each matrix, row or (of stacked codes) column, or one for each block. Blocks are of one of the sizes `configured`,
    /// where there are any, else of 128×128, or, of scales that are powers of two, parts of a row. `are_blocks` says that
    /// the name of `tensor` means blocks of a configured size and nothing else. A grid with more scales than the codes need
    /// is taken where all that is too much is of one value, and so is padding.
    ///
    /// # Errors
    /// [`Error::Argument`] for other shapes and dtypes, where several sizes fit, and for values that are not positive and
    /// finite.
    pub fn stored(
        tensor: &Tensor,
        codes: &[usize],
        configured: &[[usize; 2]],
        are_blocks: bool,
    ) -> Result<Scales> {
        let misfit = || misfit(tensor, codes, configured);
        let values = values(tensor)?;
        let is_one = tensor.elements() == 1;
        let Some(stack) = Stack::of(codes) else {
            return if is_one { checked(Scales::tensor(values[0]), codes) } else { Err(misfit()) };
        };
        let (grid, is_spread) = stack.grid_of(tensor.shape()).ok_or_else(misfit)?;
        let fitting: Vec<[usize; 2]> =
            configured.iter().copied().filter(|block| stack.grid(*block) == grid).collect();
        let is_exponent = matches!(tensor.dtype(), Dtype::F8E8M0 | Dtype::U8);
        let block = match (&fitting[..], grid) {
            (&[first, ref rest @ ..], _) if rest.is_empty() || is_one => first,
            ([_, ..], _) => {
                return Err(Error::argument(format!(
                    "scales of shape {:?} fit codes of shape {codes:?} in blocks of several sizes that the configuration has",
                    tensor.shape()
                )));
            }
            ([], _) if are_blocks && !configured.is_empty() => {
                let padded = configured
                    .iter()
                    .find_map(|block| Some((*block, stack.unpadded(&values, grid, *block)?)));
                let (block, values) = padded.ok_or_else(misfit)?;
                return stack
                    .scales(values, stack.grid(block), block)
                    .and_then(|s| checked(s, &stack.flat()));
            }
            ([], (1, 1)) => [stack.rows, stack.columns],
            ([], (rows, 1)) if rows == stack.rows => [1, stack.columns],
            ([], (1, columns)) if columns == stack.columns && stack.matrices > 1 => [stack.rows, 1],
            ([], (rows, columns))
                if is_exponent && rows == stack.rows && stack.columns.is_multiple_of(columns) =>
            {
                [1, stack.columns / columns]
            }
            ([], grid) if grid == stack.grid(BLOCK_SIZE) => BLOCK_SIZE,
            ([], (rows, columns))
                if is_spread && stack.rows.is_multiple_of(rows) && stack.columns.is_multiple_of(columns) =>
            {
                [stack.rows / rows, stack.columns / columns]
            }
            _ => return Err(misfit()),
        };
        stack.scales(values, grid, block).and_then(|scales| checked(scales, &stack.flat()))
    }

    /// What they are for, in words.
    pub fn described(&self) -> String {
        match self.granularity {
            Granularity::Tensor => "one for the tensor".into(),
            Granularity::Channel => "one for each row".into(),
            Granularity::Block => format!("one for each block of {}×{}", self.block[0], self.block[1]),
        }
    }
}

impl Stack {
    /// Nothing for codes that are no matrices.
    fn of(codes: &[usize]) -> Option<Stack> {
        match *codes {
            [rows, columns] => Some(Stack { matrices: 1, rows, columns }),
            [matrices, rows, columns] => Some(Stack { matrices, rows, columns }),
            _ => None,
        }
        .filter(|stack| !stack.flat().contains(&0))
    }

    /// All matrices below one another.
    fn flat(&self) -> [usize; 2] {
        [self.matrices * self.rows, self.columns]
    }

    /// The scales down and across one matrix, in blocks of this size.
    fn grid(&self, block: [usize; 2]) -> (usize, usize) {
        (self.rows.div_ceil(block[0]), self.columns.div_ceil(block[1]))
    }

    /// The same as `shape` says, and whether it has ModelOpt's form `[down, 1, across, 1]`.
    fn grid_of(&self, shape: &[usize]) -> Option<((usize, usize), bool)> {
        if shape.iter().product::<usize>() == 1 {
            return Some(((1, 1), false));
        }
        let of_one = match shape {
            [first, rest @ ..] if self.matrices > 1 => (*first == self.matrices).then_some(rest)?,
            _ => shape,
        };
        match *of_one {
            [] | [1] | [1, 1] => Some(((1, 1), false)),
            [rows] => Some(((rows, 1), false)),
            [rows, columns] => Some(((rows, columns), false)),
            [rows, 1, columns, 1] => Some(((rows, columns), true)),
            _ => None,
        }
        .filter(|((rows, columns), _)| *rows > 0 && *columns > 0)
    }

    /// The scales that blocks of this size need out of a larger grid; nothing where the others are not all of one value.
    fn unpadded(&self, values: &[f32], grid: (usize, usize), block: [usize; 2]) -> Option<Vec<f32>> {
        let needed = self.grid(block);
        if needed.0 > grid.0 || needed.1 > grid.1 || values.len() != self.matrices * grid.0 * grid.1 {
            return None;
        }
        let (mut kept, mut surplus) = (Vec::new(), Vec::new());
        for (index, value) in values.iter().enumerate() {
            let (row, column) = (index / grid.1 % grid.0, index % grid.1);
            if row < needed.0 && column < needed.1 { kept.push(*value) } else { surplus.push(*value) }
        }
        surplus.windows(2).all(|pair| pair[0].to_bits() == pair[1].to_bits()).then_some(kept)
    }

    /// `values`, which lie in a `grid` for each matrix, for all matrices below one another.
    fn scales(&self, values: Vec<f32>, grid: (usize, usize), block: [usize; 2]) -> Result<Scales> {
        let (down, across) = grid;
        if values.len() == 1 {
            return Ok(Scales::tensor(values[0]));
        }
        let [rows, columns] = self.flat();
        if block[0] == 1 && block[1] >= columns {
            return Ok(Scales {
                granularity: Granularity::Channel,
                block: BLOCK_SIZE,
                shape: vec![rows, 1],
                values,
            });
        }
        let blocks = |block, shape, values| Scales { granularity: Granularity::Block, block, shape, values };
        if self.matrices == 1 || self.rows.is_multiple_of(block[0]) {
            return Ok(blocks(block, vec![self.matrices * down, across], values));
        }
        // The last blocks of a matrix are not whole: each row gets scales of its own, so that none reaches into the next.
        let of_row = |row: usize| {
            let (matrix, row) = (row / self.rows, row % self.rows);
            let from = (matrix * down + row / block[0]) * across;
            values[from..from + across].iter().copied()
        };
        Ok(blocks([1, block[1]], vec![rows, across], (0..rows).flat_map(of_row).collect()))
    }
}

fn checked(scales: Scales, codes: &[usize]) -> Result<Scales> {
    scales.check(codes)?;
    Ok(scales)
}

fn misfit(tensor: &Tensor, codes: &[usize], configured: &[[usize; 2]]) -> Error {
    let sizes: Vec<String> = configured.iter().map(|[rows, columns]| format!("{rows}×{columns}")).collect();
    let blocks = match &sizes[..] {
        [] => String::new(),
        sizes => format!(" in blocks of {}", sizes.join(" or ")),
    };
    let shape = tensor.shape();
    Error::argument(format!("scales of shape {shape:?} do not fit codes of shape {codes:?}{blocks}"))
}

/// The values of scales: numbers, or exponents of two with 127 added, which some tools keep in bytes.
fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    match tensor.dtype() {
        Dtype::F8E8M0 | Dtype::U8 => {
            Ok(tensor.bytes().iter().map(|exponent| power_of_two(*exponent)).collect())
        }
        dtype if dtype.is_quantisable() || dtype == Dtype::F64 => {
            Ok(tensor.to_f64_iter().map(|value| value as f32).collect())
        }
        dtype => Err(Error::argument(format!("scales are BF16, F16, F32, F64 or F8_E8M0, not {dtype}"))),
    }
}

/// The value of an E8M0 code; exact. 0xFF is NaN.
fn power_of_two(exponent: u8) -> f32 {
    match exponent {
        0 => f32::from_bits(1 << 22),
        0xff => f32::NAN,
        exponent => f32::from_bits(u32::from(exponent) << 23),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f32s(shape: &[usize], values: &[f32]) -> Tensor {
        Tensor::owned(Dtype::F32, shape.into(), values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    fn counted(shape: &[usize]) -> Tensor {
        let values: Vec<f32> = (1..=shape.iter().product::<usize>()).map(|v| v as f32).collect();
        f32s(shape, &values)
    }

    fn read(shape: &[usize], codes: &[usize], configured: &[[usize; 2]]) -> Result<Scales> {
        Scales::stored(&counted(shape), codes, configured, !configured.is_empty())
    }

    /// The scale of the element at (matrix, row, column), by the result.
    fn at(scales: &Scales, codes: [usize; 3], [matrix, row, column]: [usize; 3]) -> f32 {
        let row = matrix * codes[1] + row;
        match scales.granularity {
            Granularity::Tensor => scales.values[0],
            Granularity::Channel => scales.values[row],
            Granularity::Block => {
                scales.values
                    [row / scales.block[0] * codes[2].div_ceil(scales.block[1]) + column / scales.block[1]]
            }
        }
    }

    #[test]
    fn stacked_codes_get_the_scales_of_their_own_matrix() {
        // Rows that are no whole blocks, whole ones, one scale a matrix, a row and a column.
        let codes = [2, 5, 6];
        let grid = read(&[2, 3, 2], &codes, &[[2, 4]]).unwrap();
        let whole = read(&[2, 1, 3], &codes, &[[5, 2]]).unwrap();
        let (matrix, row) = (read(&[2], &codes, &[]).unwrap(), read(&[2, 5, 1], &codes, &[]).unwrap());
        let column = read(&[2, 1, 6], &codes, &[]).unwrap();
        for m in 0..2 {
            for r in 0..5 {
                for c in 0..6 {
                    let all = [&grid, &whole, &matrix, &row, &column].map(|s| at(s, codes, [m, r, c]));
                    let expected = [m * 6 + r / 2 * 2 + c / 4, m * 3 + c / 2, m, m * 5 + r, m * 6 + c]
                        .map(|v| (v + 1) as f32);
                    assert_eq!(all, expected, "{m} {r} {c}");
                }
            }
        }
    }

    #[test]
    fn the_form_of_modelopts_blocks_is_read_without_a_configuration() {
        assert_eq!(read(&[2, 1, 3, 1], &[64, 96], &[]).unwrap().block, [32, 32]);
        assert_eq!(read(&[2, 1, 2, 1], &[200, 256], &[]).unwrap().block, [128, 128]);
        assert!(read(&[3, 1, 3, 1], &[64, 96], &[]).is_err());
    }

    #[test]
    fn padding_is_left_out_and_nothing_else() {
        let padded = f32s(&[3, 2], &[5.0, 9.0, 6.0, 9.0, 9.0, 9.0]);
        let scales = Scales::stored(&padded, &[8, 4], &[[4, 4]], true).unwrap();
        assert_eq!(scales.values, [5.0, 6.0]);
        let error = read(&[3, 2], &[8, 4], &[[4, 4]]).unwrap_err().to_string();
        assert!(error.contains("do not fit") && error.ends_with("4×4"), "{error}");
    }

    #[test]
    fn exponents_are_powers_of_two() {
        for dtype in [Dtype::F8E8M0, Dtype::U8] {
            let tensor = Tensor::owned(dtype, vec![2, 2], vec![127, 130, 0, 254]);
            let scales = Scales::stored(&tensor, &[2, 64], &[], false).unwrap();
            assert_eq!(scales.block, [1, 32]);
            assert_eq!(scales.values, [1.0, 8.0, f32::from_bits(0x0040_0000), f32::from_bits(0x7f00_0000)]);
        }
        let nan = Tensor::owned(Dtype::F8E8M0, vec![1], vec![255]);
        assert!(Scales::stored(&nan, &[2, 64], &[], false).is_err());
    }

    #[test]
    fn scales_that_fit_two_sizes_are_refused_rather_than_guessed() {
        let error = read(&[2, 2], &[200, 200], &[[128, 128], [100, 100]]).unwrap_err();
        assert!(error.to_string().contains("several sizes"), "{error}");
        assert!(read(&[2, 3], &[64, 64], &[]).is_err());
        assert!(Scales::stored(&counted(&[1]), &[256, 256], &[[128, 128]], true).is_err());
    }
}
