# SPDX-License-Identifier: Apache-2.0
"""Writes the defaulting rules: those that are data as tables, the others as references to functions."""

import json

from tables import HEADER, sv

CORE = 'k8s.io.api.core.v1.'
APPS = 'k8s.io.api.apps.v1.'
CRD = 'k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.'

# Type -> (function in sdk/src/schema/defaults_*.cpp, the rows it stands for).
FUNCTIONS = {
    CORE + 'Pod': ('pod', ['spec.containers[*].resources.requests[k]', 'spec.initContainers[*].resources.requests[k]',
                           'spec.containers[*].ports[*].hostPort', 'spec.resources.requests[k]',
                           'spec.resources.limits[hugepages-*]']),
    CORE + 'Container': ('container', ['imagePullPolicy']),
    CORE + 'EphemeralContainer': ('container', ['imagePullPolicy']),
    CORE + 'ServicePort': ('service_port', ['targetPort']),
    CORE + 'Volume': ('volume', ['emptyDir', 'image.pullPolicy']),
    CORE + 'LimitRangeItem': ('limit_range_item', ['default[k]', 'defaultRequest[k]']),
    CORE + 'ReplicationController': ('replication_controller', ['spec.selector', 'metadata.labels']),
    CORE + 'Service': ('service', ['spec.sessionAffinityConfig', 'spec.sessionAffinityConfig.clientIP.timeoutSeconds',
                                   'spec.externalTrafficPolicy', 'spec.internalTrafficPolicy',
                                   'spec.allocateLoadBalancerNodePorts', 'status.loadBalancer.ingress[*].ipMode']),
    CORE + 'Namespace': ('name_space', ['metadata.labels[kubernetes.io/metadata.name]']),
    CORE + 'NodeStatus': ('node_status', ['allocatable']),
    APPS + 'Deployment': ('deployment', ['spec.strategy.rollingUpdate.maxUnavailable',
                                         'spec.strategy.rollingUpdate.maxSurge']),
    APPS + 'DaemonSet': ('daemon_set', ['spec.updateStrategy.rollingUpdate.maxUnavailable',
                                        'spec.updateStrategy.rollingUpdate.maxSurge']),
    APPS + 'StatefulSet': ('stateful_set', ['spec.updateStrategy.type', 'spec.updateStrategy.rollingUpdate',
                                            'spec.updateStrategy.rollingUpdate.partition',
                                            'spec.persistentVolumeClaimRetentionPolicy.whenDeleted',
                                            'spec.persistentVolumeClaimRetentionPolicy.whenScaled']),
    'k8s.io.api.batch.v1.Job': ('job', ['spec.completions', 'spec.parallelism', 'spec.backoffLimit', 'metadata.labels',
                                        'spec.podReplacementPolicy']),
    'k8s.io.api.autoscaling.v1.HorizontalPodAutoscaler': ('autoscaler_v1', ['spec.targetCPUUtilizationPercentage']),
    'k8s.io.api.autoscaling.v2.HorizontalPodAutoscaler': (
        'autoscaler_v2', ['spec.behavior.scaleUp.stabilizationWindowSeconds', 'spec.behavior.scaleUp.selectPolicy',
                          'spec.behavior.scaleUp.policies', 'spec.behavior.scaleDown.selectPolicy',
                          'spec.behavior.scaleDown.policies']),
    'k8s.io.api.networking.v1.NetworkPolicy': ('network_policy', ['spec.policyTypes']),
    'k8s.io.api.rbac.v1.Subject': ('rbac_subject', ['apiGroup']),
    CRD + 'CustomResourceDefinition': ('custom_resource', ['status.storedVersions']),
    CRD + 'CustomResourceDefinitionSpec': ('custom_resource_spec', ['names.singular', 'names.listKind']),
    **{f'k8s.io.api.resource.{version}.{name}': ('device_request', ['allocationMode', 'count'])
       for version, name in (('v1', 'ExactDeviceRequest'), ('v1', 'DeviceSubRequest'), ('v1beta2', 'ExactDeviceRequest'),
                             ('v1beta2', 'DeviceSubRequest'), ('v1beta1', 'DeviceSubRequest'))},
    'k8s.io.api.resource.v1beta1.DeviceRequest': ('class_device_request', ['allocationMode', 'count']),
}
# Rows that have no effect here, and why.
LEFT_OUT = {
    (CORE + 'ResourceList', '[k]'): 'part of the walk: every field of that type',
    (CORE + 'ConfigMap', 'data'): 'an empty map is not written',
    (CORE + 'Pod', 'spec.resources.limits[k]'): 'later than the target version',
    (APPS + 'StatefulSet', 'spec.updateStrategy.rollingUpdate.maxUnavailable'): 'gate off by default',
    ('k8s.io.api.resource.v1.DeviceTaint', 'timeAdded'): 'needs a clock: the strategy of the resource sets it',
    ('k8s.io.api.resource.v1.Device', 'nodeAllocatableResourceMappings[*].allocationMultiplier'): 'alpha gate',
}
NULL_CONDITIONS = ('null', 'unset', 'parameters set, scope null')
EMPTY_CONDITIONS = ('empty', '0')


def condition(row):
    when = row['when'].split(';')[0].split(' (')[0].strip()
    if when in NULL_CONDITIONS:
        return 'Null'
    if when in EMPTY_CONDITIONS:
        return 'Empty'
    raise ValueError(f'{row["type"]} {row["field"]}: the condition "{row["when"]}" needs a function')


def own_rules(facts, t):
    """(path, JSON value, condition) of the rules that are data; those of embedded structs included."""
    rules = {}
    for field in t.fields:
        if field.embedded:
            rules |= {rule[0]: rule for rule in own_rules(facts, facts.types[field.type_id])}
        elif field.default_json and (field.raw.get('pointer') or field.raw['default']):
            # The zero value as the default of a plain field changes nothing.
            rules[field.json] = (field.json, field.default_json, 'Null' if field.raw.get('pointer') else 'Empty')
    done = FUNCTIONS.get(t.id, ('', []))[1]
    for row in facts.defaults.get(t.id, []):
        if (t.id, row['field']) in LEFT_OUT or row['field'] in done:
            continue
        if row['when'] == 'unset' and not row['value']:
            continue
        rules[row['field']] = (row['field'], json.dumps(row['value']), condition(row))
    return list(rules.values())


def types_with_rules(facts):
    """Types that have rules themselves, and all that hold such a type somewhere below."""
    own = {t.id for t in facts.types.values()
           if t.id in FUNCTIONS or own_rules(facts, t) or any(f.is_resource_list for f in t.fields)}
    while True:
        more = {t.id for t in facts.types.values() if t.id not in own and any(f.type_id in own for f in t.fields)}
        if not more:
            return own
        own |= more


def write_defaults(facts, write):
    unknown = set(facts.defaults) - set(facts.types) - {CORE + 'ResourceList'}
    if unknown:
        raise ValueError(f'defaults for unknown types: {sorted(unknown)}')
    lines = [HEADER + '#include "schema/defaults.h"\n#include "schema_tables.h"\n\nnamespace kubernel::schema::tables {\n',
             'using namespace std::string_view_literals;\n']
    for type_id in sorted(types_with_rules(facts)):
        t = facts.types[type_id]
        rules = own_rules(facts, t)
        rules_text = '{}'
        if rules:
            body = ',\n  '.join(f'{{{sv(path)}, {sv(value)}, DefaultRule::When::{when}}}' for path, value, when in rules)
            lines.append(f'constexpr DefaultRule rules_{t.symbol}[] = {{\n  {body}}};')
            rules_text = f'rules_{t.symbol}'
        function = '&defaults::' + FUNCTIONS[t.id][0] if t.id in FUNCTIONS else 'nullptr'
        lines.append(f'constexpr Defaulting d_{t.symbol}{{{rules_text}, {function}}};')
    write('schema_defaults.cpp', '\n'.join(lines) + '\n\n}  // namespace kubernel::schema::tables\n')
