//! The import flow, over ports of this crate alone.
#![cfg(all(feature = "import", feature = "aws-lc-rs"))]

use std::sync::Arc;

use consumer::{Device, Lab, OwnCa, OwnKeys, RemoteDecryptionKey, issuing_ca, item, provider};
use intune_connector::import::{ImportConfig, generate_import_key};
use intune_connector::message::pfx::{PfxBuilder, PfxProfile};
use intune_connector::message::reencrypt::{LegacyPadding, encrypt_password};
use intune_connector::policy::RecipientPolicy;
use intune_connector::ports::{ImportKeyName, ImportPayload, ImportRequest, Outcome, Payload, QueueItem};
use intune_connector::secret::{Password, SecretBytes};
use intune_connector::terms::{Flow, KeyAlgorithm, PaddingScheme};

const DEVICE: &str = "device-4711";

struct Import {
    lab: Lab,
    ca: Arc<OwnCa>,
    device: Device,
    keys: Arc<OwnKeys>,
    token: Arc<RemoteDecryptionKey>,
    pfx: Vec<u8>,
}

impl Import {
    fn new() -> Self {
        let (ca, provider) = (issuing_ca(), provider());
        let device = Device::new(&ca, DEVICE);
        let token = Arc::new(RemoteDecryptionKey::new(generate_import_key(&provider, KeyAlgorithm::Rsa2048).unwrap().decryption_key));
        let keys = Arc::new(OwnKeys::default());
        keys.insert(name(), token.clone());
        let key = provider.key_generation().unwrap().generate(KeyAlgorithm::EcP256).unwrap();
        let public_key = provider.signing_keys().unwrap().load(&key).unwrap().public_key();
        let certificate = consumer::block_on(ca.issue_to("CN=Jane Doe,E=jane@contoso.example", public_key.as_ref())).unwrap();
        let file = PfxBuilder::new(PfxProfile::Modern).key(&key).certificate(&certificate).iterations(2_048);
        let pfx = file.build(&Password::from("import-me"), &provider).unwrap().secret_bytes().to_vec();
        Self { lab: Lab::default(), ca, device, keys, token, pfx }
    }

    fn item(&self, id: &str, password: &str) -> QueueItem {
        use intune_connector::crypto::DecryptionKey as _;
        let public_key = self.token.public_key();
        let password = Password::from(password);
        let encrypted =
            encrypt_password(&provider(), public_key.as_ref(), PaddingScheme::OaepSha512, LegacyPadding::Refuse, &password).unwrap();
        let pfx = SecretBytes::copy_from(&self.pfx);
        let request = ImportRequest::new(name(), PaddingScheme::OaepSha512, encrypted, pfx, self.device.certificate.der().clone());
        item(Flow::PkcsImport, id, DEVICE, Payload::Import(Box::new(request)))
    }

    fn run(&self, payload: ImportPayload) -> Vec<u16> {
        let recipients = RecipientPolicy::new().trust_root(self.ca.root());
        let config = ImportConfig::new(self.lab.queue.clone(), self.keys.clone(), recipients).with_payload(payload);
        let connector = self.lab.builder(provider()).import(config).build().unwrap();
        self.lab.run(&connector)
    }
}

fn name() -> ImportKeyName {
    ImportKeyName { provider: "Own Token".to_owned(), key: "key-1".to_owned() }
}

#[test]
fn an_import_request_is_served_to_its_admin_event_with_a_remote_key() {
    let import = Import::new();
    import.lab.queue.push(import.item("import-1", "import-me"));
    assert_eq!(import.run(ImportPayload::Pfx), [2000], "{:?}", import.lab.sink.complaints());
    let Outcome::Import(result) = import.lab.queue.outcome() else { panic!("{:?}", import.lab.queue.outcome()) };
    assert_eq!(import.device.open(&result.password_envelope).secret_bytes(), b"import-me");
    assert_eq!(import.device.open(&result.pfx_envelope.unwrap()).secret_bytes(), import.pfx);
    assert_eq!(import.token.uses(), 1);
}

#[test]
fn a_wrong_password_ends_in_the_other_admin_event() {
    let import = Import::new();
    import.lab.queue.push(import.item("import-2", "hunter2"));
    assert_eq!(import.run(ImportPayload::Password), [2001]);
    let told = format!("{:?}", import.lab.sink.events());
    assert!(!told.contains("hunter2"));
}
