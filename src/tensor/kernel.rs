//! The instruction sets that inner loops are compiled for.
//!
//! The loops are plain Rust without branches; the compiler makes vector code of them. Each is compiled once for the target's
//! baseline (SSE2 on x86-64, NEON on ARM64) and, on x86-64, once more for AVX2 and for AVX-512, and the machine's best is
//! chosen at run time. As all are the same code, and floating-point operations are not reordered, all give the same bits.

/// An instruction set of this machine. There is no way to name one that the machine lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kernel(Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Set {
    Baseline,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Kernel {
    /// The target's baseline, there on every machine.
    pub const BASELINE: Kernel = Kernel(Set::Baseline);

    /// The fastest that this machine has.
    pub fn best() -> Kernel {
        #[cfg(target_arch = "x86_64")]
        {
            if has_avx512() {
                return Kernel(Set::Avx512);
            }
            if is_x86_feature_detected!("avx2") {
                return Kernel(Set::Avx2);
            }
        }
        Kernel::BASELINE
    }

    /// All that this machine has, slowest first.
    pub fn available() -> Vec<Kernel> {
        #[allow(unused_mut, reason = "other targets have the baseline only")]
        let mut kernels = vec![Kernel::BASELINE];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                kernels.push(Kernel(Set::Avx2));
            }
            if has_avx512() {
                kernels.push(Kernel(Set::Avx512));
            }
        }
        kernels
    }

    /// `baseline`, `avx2` or `avx512`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Baseline => "baseline",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512",
        }
    }

    pub(crate) fn set(self) -> Set {
        self.0
    }
}

/// The extensions that `for_each_kernel!` enables for AVX-512: those of every CPU from Skylake-X and Zen 4 on.
#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
}

/// Defines functions that take a [`Kernel`] before their own arguments and run the named `#[inline(always)]` function
/// with them, compiled for that kernel's instructions.
macro_rules! for_each_kernel {
    ($(
        $(#[$attribute:meta])*
        $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? = $inlined:path;
    )*) => {$(
        $(#[$attribute])*
        $visibility fn $name(kernel: $crate::tensor::Kernel, $($argument: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2($($argument: $type),*) $(-> $result)? {
                $inlined($($argument),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl")]
            fn avx512($($argument: $type),*) $(-> $result)? {
                $inlined($($argument),*)
            }
            match kernel.set() {
                $crate::tensor::kernel::Set::Baseline => $inlined($($argument),*),
                // SAFETY: such a kernel is made only after the machine was found to have these instructions.
                #[cfg(target_arch = "x86_64")]
                $crate::tensor::kernel::Set::Avx2 => unsafe { avx2($($argument),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::tensor::kernel::Set::Avx512 => unsafe { avx512($($argument),*) },
            }
        }
    )*};
}
pub(crate) use for_each_kernel;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_baseline_comes_first_and_the_best_last() {
        let kernels = Kernel::available();
        assert_eq!(kernels.first(), Some(&Kernel::BASELINE));
        assert_eq!(kernels.last(), Some(&Kernel::best()));
    }
}
