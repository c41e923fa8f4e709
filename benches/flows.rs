//! Each flow through the connector, over the ports in memory, on one thread: 20 requests in a sample.

mod support;

use divan::Bencher;
use divan::counter::ItemsCount;
use intune_connector::crypto::CryptoProvider;
use support::{Kind, World};

const REQUESTS: usize = 20;

fn main() {
    divan::main();
}

fn bench(bencher: Bencher, kind: Kind) {
    let world = World::new(kind, &CryptoProvider::ring_and_aws_lc_rs(), Clone::clone);
    bencher.counter(ItemsCount::new(REQUESTS)).with_inputs(|| world.prepare(REQUESTS)).bench_local_values(|round| round.run());
}

#[divan::bench_group(sample_count = 20, sample_size = 1)]
mod pkcs {
    use super::*;

    #[divan::bench]
    fn ec_p256(bencher: Bencher) {
        bench(bencher, Kind::PkcsEcP256);
    }

    #[divan::bench]
    fn rsa_2048_with_a_prepared_key(bencher: Bencher) {
        bench(bencher, Kind::PkcsRsa2048);
    }

    #[divan::bench]
    fn pfx_alone(bencher: Bencher) {
        let world = World::new(Kind::PkcsRsa2048, &CryptoProvider::ring_and_aws_lc_rs(), Clone::clone);
        bencher.bench_local(|| world.write_pfx());
    }
}

#[divan::bench_group(sample_count = 20, sample_size = 1)]
mod recrypt {
    use super::*;

    #[divan::bench]
    fn payload_of_4_kib(bencher: Bencher) {
        bench(bencher, Kind::Recrypt);
    }
}

#[divan::bench_group(sample_count = 20, sample_size = 1)]
mod import {
    use super::*;

    #[divan::bench]
    fn password(bencher: Bencher) {
        bench(bencher, Kind::Import);
    }

    #[divan::bench]
    fn pfx(bencher: Bencher) {
        bench(bencher, Kind::ImportPfx);
    }
}

#[divan::bench_group(sample_count = 20, sample_size = 1)]
mod scep {
    use super::*;

    #[divan::bench]
    fn pkcs_req(bencher: Bencher) {
        bench(bencher, Kind::Scep);
    }
}
