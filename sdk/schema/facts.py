# SPDX-License-Identifier: Apache-2.0
"""Reads the API facts and works out what the generated code needs to know about each type and field."""

import json
import os
import re

META = 'k8s.io.apimachinery.pkg.apis.meta.v1.'
# JSON and protobuf forms that are not those of a struct, by type id.
SPECIAL_KINDS = {
    'k8s.io.apimachinery.pkg.api.resource.Quantity': 'Quantity',
    META + 'Time': 'Time',
    META + 'MicroTime': 'MicroTime',
    META + 'Duration': 'Duration',
    META + 'FieldsV1': 'FieldsV1',
    META + 'Verbs': 'StringList',
    'k8s.io.apimachinery.pkg.util.intstr.IntOrString': 'IntOrString',
    'k8s.io.apimachinery.pkg.runtime.RawExtension': 'RawExtension',
    'k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSON': 'Json',
    'k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray': 'SchemaOrArray',
    'k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool': 'SchemaOrBool',
    'k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray': 'SchemaOrStringArray',
}
SCHEMA_PROPS = 'k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps'
SCALAR_KINDS = {'string': 'String', 'bool': 'Bool', 'int32': 'Int32', 'int64': 'Int64', 'float64': 'Float64',
                'double': 'Float64', 'bytes': 'Bytes', 'any': 'Any'}
# Registered under meta.k8s.io although their Go package serves group "".
META_GROUP_KINDS = {'Table', 'TableOptions', 'PartialObjectMetadata', 'PartialObjectMetadataList'}

# OpenAPI calls these required, but the API server takes objects that lack them.
NOT_ENFORCED_TYPES = {
    'NodeSystemInfo', 'AttachedVolume', 'NodeAddress', 'ResourceRule', 'NonResourceRule', 'ResourceHealth', 'PodIP', 'HostIP',
    'ConfigMapNodeConfigSource', 'RangeAllocation', 'CSINodeSpec', 'TokenRequest', 'ResourceClaimConsumerReference',
    'ConversionRequest', 'ConversionResponse', 'ContainerExtendedResourceRequest', 'ServerStorageVersion', 'TokenReviewSpec',
    'PodExecOptions', 'LimitRangeSpec'}
NOT_ENFORCED_FIELDS = {('HTTPHeader', 'value'), ('Sysctl', 'value')}
OBSERVED_TYPES = re.compile('Status|Condition|Result|Warning')
# Lists whose elements may have the same keys as far as the API server is concerned.
REPEATABLE = {('Container', 'env'), ('Container', 'ports'), ('EphemeralContainerCommon', 'env'),
              ('EphemeralContainerCommon', 'ports'), ('PodSpec', 'imagePullSecrets'), ('PodSpec', 'hostAliases'),
              ('ServiceAccount', 'secrets'), ('JSONSchemaProps', 'x-kubernetes-validations')}
# +oneOf of these groups: none may be set as well.
OPTIONAL_UNIONS = {'DeviceNodeSelection', 'ValidRequestValues', 'AllocationMode'}
UNCHECKED_PACKAGES = ('k8s.io/apimachinery', 'k8s.io/apiserver', 'k8s.io/api/admission/', 'k8s.io/api/apidiscovery',
                      'k8s.io/metrics', 'k8s.io/api/imagepolicy')


class Field:
    """One member of a struct, as the C++ tables describe it."""

    def __init__(self, owner, raw):
        self.raw = raw
        self.json = '' if raw.get('no_json_tag') or raw.get('json_skip') else raw.get('json', '')
        self.proto_number = raw.get('proto_number', 0)
        self.kind, self.shape, self.type_id = self._form(raw)
        # `inline` of anything but a struct is Go's way to wrap a scalar.
        self.embedded = bool(raw.get('inline')) and self.kind == 'Struct'
        self.required = bool(raw.get('required'))
        self.enforced = self._enforced(owner)
        self.markers = raw.get('validation', [])
        self.unique_keys = (raw.get('listType') == 'map' and not OBSERVED_TYPES.search(owner['name']) and
                            not owner['pkg'].startswith(UNCHECKED_PACKAGES) and
                            (owner['name'], self.json) not in REPEATABLE)
        self.unique_items = any(m.endswith('unique=set') for m in self.markers)
        one_of = raw.get('oneOf', '')
        self.one_of = '' if one_of in OPTIONAL_UNIONS else one_of
        self.zero_or_one_of = one_of if one_of in OPTIONAL_UNIONS else raw.get('zeroOrOneOf', '')

    @staticmethod
    def _form(raw):
        text = raw.get('type')
        if text is None:
            text = ('[]' if raw.get('repeated') else '') + raw['proto_type']
        shape = 'Single'
        if text.startswith('[]'):
            shape, text = 'List', text[2:]
        elif text.startswith('map[string]'):
            shape, text = 'Map', text[len('map[string]'):]
        if not text.startswith('ref:'):
            return SCALAR_KINDS[text], shape, None
        type_id = text[len('ref:'):]
        if type_id.endswith('.ExtraValue'):
            return 'StringList', shape, None
        kind = SPECIAL_KINDS.get(type_id, 'Struct')
        if kind.startswith('SchemaOr'):
            return kind, shape, SCHEMA_PROPS
        return kind, shape, type_id if kind == 'Struct' else None

    def _enforced(self, owner):
        if 'required' in self.raw.get('validation', []) or 'alpha("1.36")=required' in self.raw.get('validation', []):
            return not OBSERVED_TYPES.search(owner['name'])
        if not self.required or owner['pkg'].startswith(UNCHECKED_PACKAGES):
            return owner['id'] == META + 'LabelSelectorRequirement' and self.required
        name = owner['name']
        if name in NOT_ENFORCED_TYPES or (name, self.json) in NOT_ENFORCED_FIELDS:
            return False
        if owner.get('kind') and name.endswith('List'):
            return False
        if OBSERVED_TYPES.search(name) and name != 'PodFailurePolicyOnPodConditionsPattern':
            return False
        return self.kind in ('String', 'Bytes', 'IntOrString') or self.shape == 'List' or bool(self.raw.get('pointer'))

    def marker(self, name):
        """The argument of a declarative marker, the mirrored ("alpha") form included."""
        for text in self.markers:
            text = text.removeprefix('alpha("1.36")=')
            if text.startswith(name + '='):
                return text[len(name) + 1:].strip('"')
        return ''

    @property
    def default_json(self):
        if 'default' not in self.raw:
            return ''
        return json.dumps(self.raw['default'])

    @property
    def is_resource_list(self):
        return self.kind == 'Quantity' and self.raw.get('go_type', '').endswith('ResourceList')

    @property
    def named(self):
        if self.is_resource_list:
            return 'k8s.io.api.core.v1.ResourceList'
        named = self.raw.get('named', '')
        return named if isinstance(named, str) else named[-1] or ''


class Type:
    def __init__(self, raw):
        self.raw = raw
        self.id = raw['id']
        self.name = raw['name']
        self.group = raw.get('group', '')
        self.version = raw.get('version', '')
        self.pkg = raw['pkg']
        self.fields = [Field(raw, f) for f in raw['fields']]
        if self.id.startswith(META) and self.name in META_GROUP_KINDS:
            self.group = 'meta.k8s.io'

    @property
    def kind(self):
        return bool(self.raw.get('kind'))

    @property
    def symbol(self):
        return re.sub(r'[^A-Za-z0-9]', '_', self.id.removeprefix('k8s.io.'))

    @property
    def view_package(self):
        """("core", "v1") for views that exist, else None."""
        if self.id.startswith('k8s.io.apimachinery.pkg.apis.meta.'):
            return 'meta', self.id.split('.')[-2]
        if not self.version:
            return None
        return (self.group.split('.')[0] or 'core'), self.version

    def members(self, types):
        """(type, index) of the fields in its JSON object, in Go's order."""
        result = []
        for index, field in enumerate(self.fields):
            if field.embedded:
                result += types[field.type_id].members(types)
            elif field.json:
                result.append((self, index))
        return result


class Facts:
    def __init__(self, folder):
        self.types = {}
        for raw in self._rows(folder, 'types.jsonl'):
            self.types[raw['id']] = Type(raw)
        self.resources = self._rows(folder, 'resources.jsonl')
        self.groups = self._rows(folder, 'groups.jsonl')
        self.defaults = {}
        for row in self._rows(folder, 'defaults.jsonl'):
            if 'type' in row:
                self.defaults.setdefault(row['type'], []).append(row)

    @staticmethod
    def _rows(folder, name):
        with open(os.path.join(folder, name), encoding='utf-8') as rows:
            return [json.loads(row) for row in rows if row.strip()]

    def sorted_types(self):
        return sorted(self.types.values(), key=lambda t: t.id)

    def view_packages(self):
        return sorted({t.view_package for t in self.types.values() if t.view_package})
