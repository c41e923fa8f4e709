//! Welch's t for every pair of classes, over all samples and without the slowest of all classes together.

/// What each class took, in nanoseconds.
pub type Samples = Vec<Vec<u32>>;

/// Shares of the samples that are kept, in percent. The slowest are interruptions by other work of the machine; the bound is the same for
/// all classes (Reparaz, Balasch, Verbauwhede: Dude, is my code constant time?).
pub const KEPT: [u32; 4] = [100, 99, 90, 75];

/// Two classes compared.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    /// The classes' places.
    pub classes: (usize, usize),
    /// How many percent of all samples were kept.
    pub kept: u32,
    /// The difference of the means, in nanoseconds.
    pub difference: f64,
    /// Welch's t.
    pub t: f64,
}

/// Each pair of classes at each share of [`KEPT`].
pub fn compare(samples: &Samples) -> Vec<Pair> {
    let mut all: Vec<u32> = samples.iter().flatten().copied().collect();
    all.sort_unstable();
    let mut pairs = Vec::new();
    for kept in KEPT {
        let place = (all.len() as u64 * u64::from(kept)).div_ceil(100).max(1) as usize - 1;
        let bound = all.get(place).copied().unwrap_or(u32::MAX);
        let moments: Vec<Moments> = samples.iter().map(|class| Moments::of(class, bound)).collect();
        for first in 0..moments.len() {
            for second in first + 1..moments.len() {
                let (one, other) = (&moments[first], &moments[second]);
                let difference = one.mean - other.mean;
                let error = (one.variance / one.count + other.variance / other.count).sqrt();
                pairs.push(Pair { classes: (first, second), kept, difference, t: difference / error });
            }
        }
    }
    pairs
}

/// Mean and standard deviation of a class, in nanoseconds.
pub fn summary(class: &[u32]) -> (f64, f64) {
    let moments = Moments::of(class, u32::MAX);
    (moments.mean, moments.variance.sqrt())
}

struct Moments {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Moments {
    fn of(class: &[u32], bound: u32) -> Self {
        let kept = || class.iter().filter(|sample| **sample <= bound).map(|sample| f64::from(*sample));
        let count = kept().count() as f64;
        let mean = kept().sum::<f64>() / count;
        let variance = kept().map(|sample| (sample - mean).powi(2)).sum::<f64>() / (count - 1.0);
        Self { count, mean, variance }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_classes_give_a_small_t_and_a_shift_a_large_one() {
        let class = |shift: u32| (0..2_000u32).map(|number| 1_000 + number.wrapping_mul(2_654_435_761) % 100 + shift).collect();
        let same = compare(&vec![class(0), class(0)]);
        assert!(same.iter().all(|pair| pair.t.abs() < 1e-9), "{same:?}");
        let apart = compare(&vec![class(0), class(10)]);
        assert!(apart.iter().filter(|pair| pair.kept == 100).all(|pair| pair.t < -4.5 && (pair.difference + 10.0).abs() < 1e-6));
    }
}
