# SPDX-License-Identifier: MIT
#
# spec.py FAMILY: what the kernel's own tool reads in a specification, as JSON,
# with the policies in the form in which ynl --policy shows the kernel's.
import json
import sys

sys.path.append('/usr/lib/ynl/pyynl')
from lib import SpecFamily

family = SpecFamily(family=sys.argv[1])


def number(value):
    return family.consts[value]['value'] if value in family.consts else value


def entry(attr):
    """The policy of an attribute."""
    checks = {k: number(v) for k, v in attr.yaml.get('checks', {}).items()}
    kind = attr.type
    if kind == 'nest':
        policy = {a: entry(spec) for a, spec in family.attr_sets[attr.yaml['nested-attributes']].attrs.items()}
        return {'type': 'nested', 'policy': policy}
    if kind == 'string' and not checks.get('unterminated-ok'):
        kind = 'nul-string'
    if kind in ('binary', 'string', 'nul-string'):
        if 'exact-len' in checks:
            checks = {'min-len': checks['exact-len'], 'max-len': checks['exact-len']}
        lengths = {'min-length': 'min-len', 'max-length': 'max-len'}
        return {'type': kind} | {k: checks[v] for k, v in lengths.items() if v in checks}
    if kind[0] == 'u' and kind[1:].isdigit():
        low, high = 0, (1 << int(kind[1:])) - 1
        if 'enum' in attr.yaml:
            enum = family.consts[attr.yaml['enum']]
            if enum.type == 'flags':
                return {'type': kind, 'mask': enum.get_mask()}
            values = [e.value for e in enum.entries.values()]
            low, high = min(values), max(values)
        return {'type': kind, 'min-value': checks.get('min', low), 'max-value': checks.get('max', high)}
    if kind == 'flag':
        return {'type': kind}
    sys.exit(f'spec.py does not know the policy of a {kind}, that of {attr.name}; teach it')


def policy(op, mode):
    names = op[mode].get('request', {}).get('attributes', [])
    return {name: entry(op.attr_set[name]) for name in names}


print(json.dumps({
    'name': family['name'],
    'version': family.get('version', 1),
    'groups': [g for g in family.mcast_groups],
    'operations': [{
        'name': op.name,
        'value': op.req_value,
        'flags': op.get('flags', []),
        'policies': {mode: policy(op, mode) for mode in ('do', 'dump') if mode in op},
        'numbers': {a.name: a.value for a in op.attr_set.attrs.values()},
    } for op in family.ops.values()],
}))
