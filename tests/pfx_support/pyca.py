"""Opens and writes PFX files with pyca/cryptography. The password comes in PFX_PASSWORD; what was found goes out in lines of hex.

pyca.py read FILE
pyca.py write FILE SETTING KEY.pem CERTIFICATE...pem    (the leaf first)
"""
import os
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs12

DER, PKCS8 = serialization.Encoding.DER, serialization.PrivateFormat.PKCS8
password = os.environb[b"PFX_PASSWORD"]


def read(path):
    with open(path, "rb") as file:
        found = pkcs12.load_pkcs12(file.read(), password)
    if found.key is not None:
        print("key", found.key.private_bytes(DER, PKCS8, serialization.NoEncryption()).hex())
    for entry in [found.cert] * (found.cert is not None) + found.additional_certs:
        print("certificate", entry.certificate.public_bytes(DER).hex())
        if entry.friendly_name is not None:
            print("name", entry.friendly_name.hex())


def encryption(setting):
    if setting == "best-available":
        return serialization.BestAvailableEncryption(password)
    builder = serialization.PrivateFormat.PKCS12.encryption_builder().kdf_rounds(20_000)
    if setting == "3des-sha1":
        builder = builder.key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC).hmac_hash(hashes.SHA1())
    elif setting == "aes-sha512":
        builder = builder.key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC).hmac_hash(hashes.SHA512())
    else:
        sys.exit("unknown setting")
    return builder.build(password)


def write(path, setting, key, *certificates):
    with open(key, "rb") as file:
        key = serialization.load_pem_private_key(file.read(), None)
    chain = []
    for name in certificates:
        with open(name, "rb") as file:
            chain.append(x509.load_pem_x509_certificate(file.read()))
    data = pkcs12.serialize_key_and_certificates("Łukasz at Contoso".encode(), key, chain[0], chain[1:], encryption(setting))
    with open(path, "wb") as file:
        file.write(data)


{"read": read, "write": write}[sys.argv[1]](*sys.argv[2:])
