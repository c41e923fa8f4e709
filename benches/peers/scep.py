#!/usr/bin/env python3
"""Called by benches/peers/scep: starts the servers, loads them in turns, prints one table.

Columns: requests a second, CPU milliseconds of the server for each, latency at the median and the 99th percentile, the load generator's share
of one CPU, distinct serial numbers and verified replies of those sent. Then the sum of the cryptographic primitives of an enrolment, measured
in the same minutes, and what the servers need beside it. Each figure is the median of the rounds.
"""
import argparse, json, os, re, shutil, signal, statistics, subprocess, sys, tempfile, time

parser = argparse.ArgumentParser()
parser.add_argument('load')
parser.add_argument('service')
parser.add_argument('ratio')
parser.add_argument('--count', type=int, default=600)
parser.add_argument('--rounds', type=int, default=3)
parser.add_argument('--connections', default='1,8,16')
options = parser.parse_args()
CHALLENGE = 'bench-challenge-1'
scratch = tempfile.mkdtemp(prefix='scep-bench-')
processes = []


def run(*command, **keywords):
    return subprocess.run(command, check=True, capture_output=True, text=True, **keywords).stdout


def wait_for(url):
    for _ in range(200):
        if subprocess.run(['curl', '-sf', '-m', '2', '-o', '/dev/null', url + '?operation=GetCACaps']).returncode == 0:
            return
        time.sleep(0.05)
    raise SystemExit(f'{url} does not answer')


def encryption_certificate(url, name):
    """The certificate that requests are encrypted to, in PEM: the only one, or the RA's."""
    answer = os.path.join(scratch, name + '.der')
    kind = run('curl', '-sS', '-m', '10', '-o', answer, '-w', '%{content_type}', url + '?operation=GetCACert')
    pem = answer + '.pem'
    if 'ra-cert' in kind:
        certificates = run('openssl', 'pkcs7', '-inform', 'DER', '-in', answer, '-print_certs')
        blocks = re.findall('-----BEGIN.*?-----END CERTIFICATE-----\n', certificates, re.S)
        is_ca = lambda block: 'CA:TRUE' in run('openssl', 'x509', '-noout', '-text', input=block)
        open(pem, 'w').write([block for block in blocks if not is_ca(block)][0])
    else:
        run('openssl', 'x509', '-inform', 'DER', '-in', answer, '-out', pem)
    return pem


def start_ours(ca):
    folder = os.path.join(scratch, 'ours-' + ca)
    os.mkdir(folder)
    command = [options.service, '--listen', '127.0.0.1:0', '--challenge', CHALLENGE, '--ca', ca, '--dir', folder]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    processes.append(process)
    url = process.stdout.readline().strip().removeprefix('ready ')
    wait_for(url)
    return {'name': f'this crate, {ca.upper()} CA', 'url': url, 'pid': process.pid, 'to': encryption_certificate(url, 'ours-' + ca)}


def start_scepserver():
    depot = os.path.join(scratch, 'depot')
    run('scepserver', 'ca', '-init', '-depot', depot, '-keySize', '2048', '-organization', 'bench', '-key-password', 'bench')
    log = open(os.path.join(scratch, 'scepserver.log'), 'w')
    command = ['scepserver', '-depot', depot, '-capass', 'bench', '-port', '9001', '-challenge', CHALLENGE, '-allowrenew', '0']
    process = subprocess.Popen(command, stdout=log, stderr=log)
    processes.append(process)
    url = 'http://127.0.0.1:9001/scep'
    wait_for(url)
    version = run('scepserver', '-version').split()
    return {'name': 'scepserver ' + (version[-1] if version else ''), 'url': url, 'pid': process.pid, 'to': encryption_certificate(url, 'scepserver')}


def measure(server, connections):
    command = [sys.executable, options.load, server['url'], server['to'], str(options.count), CHALLENGE]
    command += ['--conns', str(connections), '--pid', str(server['pid'])]
    # It fails when a reply is not a verified SUCCESS; that is part of the result.
    result = subprocess.run(command, capture_output=True, text=True)
    lines = [line for line in result.stdout.splitlines() if line.startswith('{')]
    if not lines:
        raise SystemExit(result.stderr)
    return json.loads(lines[-1])


def rsa_milliseconds():
    line = run('openssl', 'speed', '-seconds', '1', 'rsa2048').splitlines()[-1]
    sign, verify = re.findall(r'([0-9.]+)s', line)[:2]
    return float(sign) * 1e3, float(verify) * 1e3


def enrolment_microseconds():
    """An enrolment with an EC CA by the ratio bench: all of it, and the primitives that it called, called again."""
    for line in run(options.ratio, '--bench', 'SCEP').splitlines():
        if line.startswith('| SCEP'):
            return [float(number) for number in re.findall(r'([0-9]+) µs', line)]
    raise SystemExit('the ratio bench said nothing of SCEP')


def main():
    before, enrolment_before, load_before = rsa_milliseconds(), enrolment_microseconds(), os.getloadavg()
    servers = [start_ours('rsa'), start_ours('ec'), start_scepserver()]
    results = {}
    for connections in map(int, options.connections.split(',')):
        for _ in range(options.rounds):
            for server in servers:
                results.setdefault((connections, server['name']), []).append(measure(server, connections))
    after, enrolment_after = rsa_milliseconds(), enrolment_microseconds()

    median = lambda rounds, key: statistics.median(round[key] for round in rounds)
    print('| server | connections | requests/s | CPU ms | p50 ms | p99 ms | loader CPU | distinct serials | verified |')
    print('|---|---:|---:|---:|---:|---:|---:|---:|---:|')
    cpu = {}
    for (connections, name), rounds in results.items():
        cpu.setdefault(name, []).extend(round['server_cpu_ms_per_req'] for round in rounds)
        sent = sum(round['count'] for round in rounds)
        loader = statistics.median(round['loader_cpu_s'] / round['wall_s'] for round in rounds)
        verified = sum(int(round['verified'].split('/')[0]) for round in rounds)
        serials = sum(round['distinct_serials'] for round in rounds)
        print(f"| {name} | {connections} | {median(rounds, 'req_per_s'):.0f} | {median(rounds, 'server_cpu_ms_per_req'):.2f} "
              f"| {median(rounds, 'ms_p50'):.1f} | {median(rounds, 'ms_p99'):.1f} | {loader:.0%} | {serials} of {sent} | {verified} of {sent} |")
    sign, verify = (statistics.mean(pair) for pair in zip(before, after))
    whole, primitives = (statistics.mean(pair) / 1e3 for pair in zip(enrolment_before, enrolment_after))
    print(f'\nopenssl speed: an RSA-2048 signature {sign:.3f} ms, a verification {verify:.3f} ms; '
          f'an enrolment has at least 3 of each with an RSA CA: {3 * (sign + verify):.2f} ms')
    print(f'the ratio bench, EC CA, without HTTP: {whole:.2f} ms, of which primitives {primitives:.2f} ms')
    for name, values in cpu.items():
        of = primitives if 'EC CA' in name else 3 * (sign + verify)
        print(f'{name}: {statistics.median(values):.2f} ms CPU, {statistics.median(values) / of:.2f} times {of:.2f} ms of primitives')
    ours, theirs = (next(values for name, values in cpu.items() if name.startswith(start)) for start in ('this crate, RSA', 'scepserver'))
    print(f'scepserver takes {statistics.median(theirs) / statistics.median(ours):.1f} times the CPU of this crate with an RSA CA')
    print(f'load average {load_before[0]:.1f} before, {os.getloadavg()[0]:.1f} after; {os.cpu_count()} CPUs')


try:
    main()
finally:
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
    shutil.rmtree(scratch, ignore_errors=True)
