"""Gets tokens of a simulated Intune with Microsoft's MSAL for Python, through a proxy on this machine that adds TLS.

Prints a line of JSON with the proxy's port and the app's certificate (base64 of DER); reads one with the simulator's port, `authority`,
`clientId` and `clientSecret`; prints one with what MSAL got for each credential.
"""
import base64
import datetime
import json
import os
import socket
import ssl
import sys
import tempfile
import threading

import msal
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

PEM = serialization.Encoding.PEM
INTUNE, GRAPH = "https://api.manage.microsoft.com//.default", "https://graph.microsoft.com/.default"


def self_signed(name):
    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
    pkcs8 = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return builder.sign(key, hashes.SHA256()), pkcs8


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def proxy(listener, context, port):
    while True:
        plain, _ = listener.accept()
        try:
            tls = context.wrap_socket(plain, server_side=True)
            behind = socket.create_connection(("127.0.0.1", port))
        except OSError:
            continue
        threading.Thread(target=pump, args=(tls, behind), daemon=True).start()
        threading.Thread(target=pump, args=(behind, tls), daemon=True).start()


def main():
    certificate, key = self_signed("localhost")
    app, app_key = self_signed("app.contoso.example")
    folder = tempfile.TemporaryDirectory()
    chain, trust = os.path.join(folder.name, "tls.pem"), os.path.join(folder.name, "trust.pem")
    with open(chain, "wb") as file:
        file.write(key + certificate.public_bytes(PEM))
    with open(trust, "wb") as file:
        file.write(certificate.public_bytes(PEM))
    # requests prefers it to `verify`.
    os.environ["REQUESTS_CA_BUNDLE"] = trust
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "localhost"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    listener = socket.create_server(("127.0.0.1", 0))
    der = app.public_bytes(serialization.Encoding.DER)
    print(json.dumps({"port": listener.getsockname()[1], "certificate": base64.b64encode(der).decode()}), flush=True)

    told = json.loads(sys.stdin.readline())
    threading.Thread(target=proxy, args=(listener, context, told["port"]), daemon=True).start()

    def acquire(credential, *scopes):
        # Instance discovery would ask login.microsoftonline.com.
        client = msal.ConfidentialClientApplication(
            told["clientId"], authority=told["authority"], client_credential=credential, instance_discovery=False, verify=trust, timeout=30
        )
        return [client.acquire_token_for_client([scope]) for scope in scopes]

    app_key, app_pem = app_key.decode(), app.public_bytes(PEM).decode()
    thumbprint = app.fingerprint(hashes.SHA1()).hex()
    print(
        json.dumps(
            {
                "secret": acquire(told["clientSecret"], INTUNE, GRAPH, INTUNE),
                "certificate": acquire({"private_key": app_key, "public_certificate": app_pem}, INTUNE),
                "thumbprint": acquire({"private_key": app_key, "thumbprint": thumbprint}, INTUNE),
                "wrongSecret": acquire("wrong", INTUNE),
                "oneSlash": acquire(told["clientSecret"], INTUNE.replace("//.default", "/.default")),
            }
        ),
        flush=True,
    )


main()
