// SPDX-License-Identifier: Apache-2.0
//
// Volumes of a pod: names, exactly one source each, what each source needs.
#include <array>
#include <set>

#include "validation/pod_rules.h"

namespace kubernel::apiserver::validation {

namespace {

// In the order in which upstream looks at them: the first one set counts, the others are too many.
constexpr std::array kSources = {"emptyDir",
                                 "hostPath",
                                 "gitRepo",
                                 "gcePersistentDisk",
                                 "awsElasticBlockStore",
                                 "secret",
                                 "nfs",
                                 "iscsi",
                                 "glusterfs",
                                 "persistentVolumeClaim",
                                 "rbd",
                                 "cinder",
                                 "cephfs",
                                 "flocker",
                                 "downwardAPI",
                                 "fc",
                                 "flexVolume",
                                 "configMap",
                                 "azureFile",
                                 "vsphereVolume",
                                 "quobyte",
                                 "photonPersistentDisk",
                                 "portworxVolume",
                                 "azureDisk",
                                 "storageos",
                                 "projected",
                                 "scaleIO",
                                 "csi",
                                 "ephemeral",
                                 "image"};

void check_mode(const Field& mode) {
  if (mode.set() && (mode.number() < 0 || mode.number() > 0777)) {
    mode.invalid("must be a number between 0 and 0777 (octal), both inclusive");
  }
}

void check_own_path(const Field& path) {
  check_relative_path(path);
  const std::string text = path.text();
  if (text.starts_with("..") && !text.starts_with("../") && text != "..") path.invalid("must not start with '..'");
}

void check_items(const Field& items) {
  items.each([](const Field& item, std::size_t) {
    check_own_path(item["path"]);
    check_mode(item["mode"]);
  });
}

void check_downward_items(const Field& items) {
  items.each([](const Field& item, std::size_t) {
    check_own_path(item["path"]);
    const bool field = item["fieldRef"].set();
    const bool resource = item["resourceFieldRef"].set();
    if (field) {
      check_field_reference(item["fieldRef"], {"metadata.annotations", "metadata.labels", "metadata.name",
                                               "metadata.namespace", "metadata.uid"});
      if (resource)
        item.invalid_as("\"resource\"", "fieldRef and resourceFieldRef can not be specified simultaneously");
    } else if (resource) {
      check_resource_reference(item["resourceFieldRef"], true);
    } else {
      item.required("one of fieldRef and resourceFieldRef is required");
    }
    check_mode(item["mode"]);
  });
}

void check_token_projection(const Field& token) {
  const Field seconds = token["expirationSeconds"];
  if (seconds.set() && seconds.number() < 600) seconds.invalid("may not specify a duration less than 10 minutes");
  if (seconds.set() && seconds.number() > (std::int64_t{1} << 32))
    seconds.invalid("may not specify a duration larger than 2^32 seconds");
  check_own_path(token["path"]);
}

void check_projected(const Field& projected) {
  check_mode(projected["defaultMode"]);
  projected["sources"].each([](const Field& source, std::size_t) {
    int kinds = 0;
    for (const char* kind :
         {"secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"}) {
      const Field projection = source[kind];
      if (!projection.set()) continue;
      if (kinds++ > 0) {
        projection.forbidden("may not specify more than 1 volume type per source");
        continue;
      }
      const std::string_view which = kind;
      if (which == "secret" || which == "configMap") {
        if (projection["name"].zero()) projection["name"].required();
        check_items(projection["items"]);
      } else if (which == "downwardAPI") {
        check_downward_items(projection["items"]);
      } else if (which == "serviceAccountToken") {
        check_token_projection(projection);
      }
    }
    if (kinds == 0)
      source.required(
          "must specify exactly one of: secret, configMap, downwardAPI, serviceAccountToken, clusterTrustBundle");
  });
}

void check_source(const Field& volume, std::string_view name) {
  const Field source = volume[std::string(name).c_str()];
  if (name == "emptyDir") {
    if (source["sizeLimit"].quantity().sign() < 0) {
      source["sizeLimit"].forbidden("SizeLimit field must be a valid resource quantity");
    }
  } else if (name == "hostPath") {
    check_no_backsteps(source["path"]);
  } else if (name == "secret") {
    if (source["secretName"].zero()) source["secretName"].required();
    check_mode(source["defaultMode"]);
    check_items(source["items"]);
  } else if (name == "configMap") {
    if (source["name"].zero()) source["name"].required();
    check_mode(source["defaultMode"]);
    check_items(source["items"]);
  } else if (name == "nfs") {
    if (!source["path"].zero() && !source["path"].text().starts_with('/'))
      source["path"].invalid("must be an absolute path");
  } else if (name == "downwardAPI") {
    check_mode(source["defaultMode"]);
    check_downward_items(source["items"]);
  } else if (name == "projected") {
    check_projected(source);
  } else if (name == "ephemeral") {
    const Field claim = source["volumeClaimTemplate"];
    if (claim.set()) {
      check_claim_spec(claim["spec"]);
    } else {
      claim.required();
    }
  }
}

}  // namespace

void check_volumes(const Field& spec, PodContext& pod) {
  std::set<std::string> names;
  spec["volumes"].each([&](const Field& volume, std::size_t) {
    int sources = 0;
    for (const char* name : kSources) {
      if (!volume[name].set()) continue;
      if (sources++ == 0) {
        check_source(volume, name);
      } else {
        volume[name].forbidden("may not specify more than 1 volume type");
      }
    }
    if (sources == 0) volume.required("must specify a volume type");
    const Field name = volume["name"];
    check_name_rule(name, NameRule::Label);
    if (name.zero()) return;
    if (!names.insert(name.text()).second) name.duplicate();
    pod.volumes[name.text()] = volume["persistentVolumeClaim"].set() || volume["ephemeral"].set();
  });
}

}  // namespace kubernel::apiserver::validation
