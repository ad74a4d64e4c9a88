// SPDX-License-Identifier: Apache-2.0
//
// What every resource has in common, through the whole pipeline on the memory store.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fixture.h"

namespace kubernel::apiserver {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr std::string_view kConfigMap = R"({"metadata":{"name":"a","labels":{"x":"1"}},"data":{"k":"v"}})";

TEST(Objects, ACreatedObjectHasWhatTheSystemAdds) {
  Fixture f;
  const auto made = f.create(api::resources::kConfigMaps, "default", kConfigMap);
  EXPECT_EQ(made.name(), "a");
  EXPECT_EQ(made.ns(), "default");
  EXPECT_THAT(made.uid(), SizeIs(36));
  EXPECT_GT(made.head().resource_version, 0);
  EXPECT_EQ(made["kind"].string(), "ConfigMap");
  EXPECT_EQ(made["apiVersion"].string(), "v1");
  EXPECT_EQ(made["metadata"]["creationTimestamp"].string(), "2026-01-01T00:00:00Z");
}

TEST(Objects, WhatWasCreatedIsReadBackTheSame) {
  Fixture f;
  const auto made = f.create(api::resources::kConfigMaps, "default", kConfigMap);
  const auto got = f.client().get({}, api::resources::kConfigMaps, {"default", "a"}, "");
  ASSERT_TRUE(got);
  EXPECT_EQ(got->json(), made.json());
}

TEST(Objects, AMissingObjectIsNotFoundInUpstreamsWords) {
  Fixture f;
  const auto got = f.client().get({}, api::resources::kDeployments, {"default", "web"}, "");
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().reason(), Reason::NotFound);
  EXPECT_EQ(got.error().message(), R"(deployments.apps "web" not found)");
  ASSERT_NE(got.error().details(), nullptr);
  EXPECT_EQ(got.error().details()->group, "apps");
  EXPECT_EQ(got.error().details()->kind, "deployments");
}

TEST(Objects, TheSameNameTwiceAlreadyExists) {
  Fixture f;
  f.create(api::resources::kConfigMaps, "default", kConfigMap);
  const auto again = f.client().create({}, api::resources::kConfigMaps, {"default", ""}, json::parse(kConfigMap), {});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().reason(), Reason::AlreadyExists);
  EXPECT_EQ(again.error().message(), R"(configmaps "a" already exists)");
}

// The cache is behind a write until somebody reads or waits for it; what an update is judged by is not.
struct BehindTheStore : ::testing::Test {
  BehindTheStore() {
    f.create(api::resources::kConfigMaps, "default", kConfigMap);
    cached = *f.client().get({}, api::resources::kConfigMaps, {"default", "a"}, "");
    json newer = cached.to_json();
    newer["data"] = {{"k", "newer"}};
    written = *f.client().update({}, api::resources::kConfigMaps, {"default", "a"}, newer, {});
  }
  Result<api::Object> update(const api::Object& from, const char* value, const char* version = nullptr) {
    json document = from.to_json();
    document["data"] = {{"k", value}};
    if (version != nullptr) document["metadata"]["resourceVersion"] = version;
    return f.client().update({}, api::resources::kConfigMaps, {"default", "a"}, std::move(document), {});
  }
  Fixture f;
  api::Object cached;
  api::Object written;
};

TEST_F(BehindTheStore, AnUpdateOfTheNewestIsTaken) {
  const auto updated = update(written, "newest");
  ASSERT_TRUE(updated) << updated.error().message();
  EXPECT_GT(updated->head().resource_version, written.head().resource_version);
}

TEST_F(BehindTheStore, AnUpdateOfWhatTheCacheHasIsAConflict) {
  const auto updated = update(cached, "other");
  ASSERT_FALSE(updated);
  EXPECT_EQ(updated.error().reason(), Reason::Conflict);
}

TEST_F(BehindTheStore, AnUpdateBackToWhatTheCacheHasIsAWrite) {
  const auto updated = update(cached, "v", "");
  ASSERT_TRUE(updated) << updated.error().message();
  EXPECT_GT(updated->head().resource_version, written.head().resource_version);
  EXPECT_EQ((*updated)["data"]["k"].string(), "v");
}

TEST_F(BehindTheStore, AnUpdateToWhatIsStoredIsNone) {
  const auto updated = update(written, "newer");
  ASSERT_TRUE(updated) << updated.error().message();
  EXPECT_EQ(updated->head().resource_version, written.head().resource_version);
}

TEST_F(BehindTheStore, AnUpdateOfWhatIsGoneIsNotFound) {
  ASSERT_TRUE(f.backend().remove({}, "/registry/configmaps/default/a", written.head().resource_version)->applied);
  EXPECT_EQ(update(cached, "other").error().reason(), Reason::NotFound);
}

TEST(Objects, AGeneratedNameIsThePrefixAndFiveCharacters) {
  Fixture f;
  const auto made = f.create(api::resources::kConfigMaps, "default", R"({"metadata":{"generateName":"web-"}})");
  EXPECT_TRUE(made.name().starts_with("web-"));
  EXPECT_THAT(made.name(), SizeIs(9));
}

TEST(Objects, NothingIsCreatedInAMissingNamespace) {
  Fixture f;
  const auto made = f.client().create({}, api::resources::kConfigMaps, {"nowhere", ""}, json::parse(kConfigMap), {});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().reason(), Reason::NotFound);
  EXPECT_EQ(made.error().message(), R"(namespaces "nowhere" not found)");
}

TEST(Objects, AnIllegalNameIsInvalidAndNothingIsStored) {
  Fixture f;
  const auto made = f.client().create({}, api::resources::kConfigMaps, {"default", ""},
                                      json::parse(R"({"metadata":{"name":"Bad_Name"}})"), {});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().reason(), Reason::Invalid);
  EXPECT_THAT(
      made.error().message(),
      HasSubstr(
          R"(ConfigMap "Bad_Name" is invalid: metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain)"));
  EXPECT_TRUE(f.list(api::resources::kConfigMaps, "default").empty());
}

TEST(Objects, AnUpdateWithAnOldVersionConflicts) {
  Fixture f;
  const auto first = f.create(api::resources::kConfigMaps, "default", kConfigMap);
  json changed = first.to_json();
  changed["data"]["k"] = "2";
  ASSERT_TRUE(f.client().update({}, api::resources::kConfigMaps, first.key(), changed, {}));
  changed["data"]["k"] = "3";
  const auto late = f.client().update({}, api::resources::kConfigMaps, first.key(), changed, {});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().reason(), Reason::Conflict);
  EXPECT_EQ(
      late.error().message(),
      R"(Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again)");
}

TEST(Objects, AnUpdateWithoutVersionOverwritesButLeasesNeedOne) {
  Fixture f;
  const auto first = f.create(api::resources::kConfigMaps, "default", kConfigMap);
  const auto updated = f.client().update({}, api::resources::kConfigMaps, first.key(),
                                         json::parse(R"({"metadata":{"name":"a"},"data":{"k":"9"}})"), {});
  ASSERT_TRUE(updated);
  EXPECT_EQ((*updated)["data"]["k"].string(), "9");
  EXPECT_EQ(updated->uid(), first.uid());

  f.create(api::resources::kLeases, "default", R"({"metadata":{"name":"l"},"spec":{"holderIdentity":"me"}})");
  const auto lease = f.client().update({}, api::resources::kLeases, {"default", "l"},
                                       json::parse(R"({"metadata":{"name":"l"},"spec":{}})"), {});
  ASSERT_FALSE(lease);
  EXPECT_EQ(lease.error().reason(), Reason::Invalid);
}

TEST(Objects, AnUpdateThatChangesNothingWritesNothing) {
  Fixture f;
  const auto first = f.create(api::resources::kConfigMaps, "default", kConfigMap);
  const auto same = f.client().update({}, api::resources::kConfigMaps, first.key(), first.to_json(), {});
  ASSERT_TRUE(same);
  EXPECT_EQ(same->head().resource_version, first.head().resource_version);
}

TEST(Objects, TheSpecRaisesTheGenerationAndTheStatusDoesNot) {
  Fixture f;
  const auto made = f.create(api::resources::kDeployments, "default", kDeployment);
  EXPECT_EQ(made.head().generation, 1);
  json changed = made.to_json();
  changed["spec"]["replicas"] = 3;
  changed["status"]["replicas"] = 7;
  const auto updated = f.client().update({}, api::resources::kDeployments, made.key(), changed, {});
  ASSERT_TRUE(updated) << updated.error().message();
  EXPECT_EQ(updated->head().generation, 2);
  EXPECT_EQ((*updated)["status"]["replicas"].integer(), 0);

  json status = updated->to_json();
  status["status"]["replicas"] = 3;
  status["spec"]["replicas"] = 99;
  const auto written =
      f.client().update({}, api::resources::kDeployments, made.key(), status, {.subresource = "status"});
  ASSERT_TRUE(written) << written.error().message();
  EXPECT_EQ(written->head().generation, 2);
  EXPECT_EQ((*written)["status"]["replicas"].integer(), 3);
  EXPECT_EQ((*written)["spec"]["replicas"].integer(), 3);
}

// The status strategies of upstream's pkg/registry: most leave metadata open, some keep part or all of it.
TEST(Objects, AWriteOfTheStatusChangesTheMetadataThatItsKindLeavesOpen) {
  struct Row {
    api::Resource resource;
    const char* ns;
    std::string_view object;
    bool labels, annotations;
  };
  const Row rows[] = {
      {api::resources::kDeployments, "default", kDeployment, false, true},
      {api::resources::kNamespaces, "", R"({"metadata":{"name":"team"}})", true, true},
      {api::resources::kNodes, "", R"({"metadata":{"name":"n"}})", true, true},
      {{"networking.k8s.io", "v1", "ingresses"},
       "default",
       R"({"metadata":{"name":"web"},"spec":{"defaultBackend":{"service":{"name":"web","port":{"number":80}}}}})",
       true,
       true},
      {{"networking.k8s.io", "v1", "servicecidrs"},
       "",
       R"({"metadata":{"name":"more"},"spec":{"cidrs":["10.99.0.0/16"]}})",
       false,
       false},
      {{"storage.k8s.io", "v1", "volumeattachments"},
       "",
       R"({"metadata":{"name":"va"},"spec":{"attacher":"a.example","nodeName":"n","source":{"persistentVolumeName":"pv"}}})",
       false,
       true},
  };
  Fixture f;
  for (const Row& row : rows) {
    SCOPED_TRACE(row.resource.plural);
    const auto made = f.create(row.resource, row.ns, row.object);
    json status = made.to_json();
    status["metadata"]["labels"]["new"] = "label";
    status["metadata"]["annotations"]["new"] = "annotation";
    const auto written = f.client().update({}, row.resource, made.key(), status, {.subresource = "status"});
    ASSERT_TRUE(written) << written.error().message();
    EXPECT_EQ(written->labels()["new"].string() == "label", row.labels);
    EXPECT_EQ(written->annotations()["new"].string() == "annotation", row.annotations);
    EXPECT_EQ(written->head().generation, made.head().generation);
  }
}

TEST(Objects, AFinalizerKeepsADeletedObjectUntilItIsRemoved) {
  Fixture f;
  const auto made =
      f.create(api::resources::kConfigMaps, "default", R"({"metadata":{"name":"a","finalizers":["example.com/x"]}})");
  const auto removed = f.client().remove({}, api::resources::kConfigMaps, made.key(), {});
  ASSERT_TRUE(removed);
  EXPECT_TRUE(removed->head().deleting);
  ASSERT_TRUE(f.client().get({}, api::resources::kConfigMaps, made.key(), ""));
  const auto freed = f.client().patch({}, api::resources::kConfigMaps, made.key(), client::PatchType::Merge,
                                      json::parse(R"({"metadata":{"finalizers":null}})"), {});
  ASSERT_TRUE(freed) << freed.error().message();
  EXPECT_FALSE(f.client().get({}, api::resources::kConfigMaps, made.key(), ""));
}

TEST(Objects, PropagationIsWrittenDownAsAFinalizer) {
  Fixture f;
  const auto made = f.create(api::resources::kDeployments, "default", kDeployment);
  const auto removed =
      f.client().remove({}, api::resources::kDeployments, made.key(), {.propagation = client::Propagation::Foreground});
  ASSERT_TRUE(removed);
  EXPECT_EQ((*removed)["metadata"]["finalizers"].at(0).string(), "foregroundDeletion");
}

TEST(Objects, APreconditionOnTheUidIsKept) {
  Fixture f;
  const auto made = f.create(api::resources::kConfigMaps, "default", kConfigMap);
  const auto removed = f.client().remove({}, api::resources::kConfigMaps, made.key(), {.precondition_uid = "other"});
  ASSERT_FALSE(removed);
  EXPECT_EQ(removed.error().reason(), Reason::Conflict);
  EXPECT_TRUE(f.client().get({}, api::resources::kConfigMaps, made.key(), ""));
}

TEST(Objects, ADryRunChangesNothing) {
  Fixture f;
  ASSERT_TRUE(
      f.client().create({}, api::resources::kConfigMaps, {"default", ""}, json::parse(kConfigMap), {.dry_run = true}));
  EXPECT_TRUE(f.list(api::resources::kConfigMaps, "default").empty());
  const auto made = f.create(api::resources::kConfigMaps, "default", kConfigMap);
  ASSERT_TRUE(f.client().remove({}, api::resources::kConfigMaps, made.key(), {.dry_run = true}));
  EXPECT_THAT(f.list(api::resources::kConfigMaps, "default"), SizeIs(1));
}

TEST(Objects, ListsSelectByLabelFieldAndNamespace) {
  Fixture f;
  f.create(api::resources::kConfigMaps, "default", kConfigMap);
  f.create(api::resources::kConfigMaps, "default", R"({"metadata":{"name":"b","labels":{"x":"2"}}})");
  f.create(api::resources::kConfigMaps, "kube-system", R"({"metadata":{"name":"c","labels":{"x":"1"}}})");
  EXPECT_THAT(f.list(api::resources::kConfigMaps, ""), SizeIs(3));
  EXPECT_THAT(f.list(api::resources::kConfigMaps, "default"), SizeIs(2));
  EXPECT_THAT(f.client().list({}, api::resources::kConfigMaps, {.label_selector = "x=1"})->items, SizeIs(2));
  EXPECT_THAT(f.client().list({}, api::resources::kConfigMaps, {.ns = "default", .label_selector = "x=1"})->items,
              SizeIs(1));
  EXPECT_THAT(f.client().list({}, api::resources::kConfigMaps, {.field_selector = "metadata.name=b"})->items,
              SizeIs(1));
  const auto unknown = f.client().list({}, api::resources::kConfigMaps, {.field_selector = "spec.x=b"});
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().reason(), Reason::BadRequest);
  EXPECT_THAT(unknown.error().message(), HasSubstr("field label not supported: spec.x"));
}

TEST(Objects, PagesStayConsistentDuringWritesAndExpireAfterCompaction) {
  Fixture f;
  for (const char* name : {"a", "b", "c", "d", "e"}) {
    f.create(api::resources::kConfigMaps, "default", std::string(R"({"metadata":{"name":")") + name + R"("}})");
  }
  const auto first = f.client().list({}, api::resources::kConfigMaps, {.ns = "default", .limit = 2});
  ASSERT_TRUE(first);
  EXPECT_THAT(first->items, SizeIs(2));
  ASSERT_FALSE(first->continue_token.empty());
  ASSERT_TRUE(f.client().remove({}, api::resources::kConfigMaps, {"default", "c"}, {}));
  f.create(api::resources::kConfigMaps, "default", R"({"metadata":{"name":"bb"}})");

  const auto second = f.client().list({}, api::resources::kConfigMaps,
                                      {.ns = "default", .limit = 2, .continue_token = first->continue_token});
  ASSERT_TRUE(second) << second.error().message();
  ASSERT_THAT(second->items, SizeIs(2));
  EXPECT_EQ(second->items[0].name(), "c");
  EXPECT_EQ(second->items[1].name(), "d");
  EXPECT_EQ(second->resource_version, first->resource_version);
  const auto third = f.client().list({}, api::resources::kConfigMaps,
                                     {.ns = "default", .limit = 2, .continue_token = second->continue_token});
  ASSERT_TRUE(third);
  ASSERT_THAT(third->items, SizeIs(1));
  EXPECT_TRUE(third->continue_token.empty());

  ASSERT_TRUE(f.backend().compact({}, f.backend().stats({})->revision));
  const auto late = f.client().list({}, api::resources::kConfigMaps,
                                    {.ns = "default", .limit = 2, .continue_token = first->continue_token});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().reason(), Reason::Expired);
}

TEST(Objects, ThreeKindsOfPatchChangeAnObject) {
  Fixture f;
  const auto made = f.create(api::resources::kDeployments, "default", kDeployment);
  const auto merged = f.client().patch({}, api::resources::kDeployments, made.key(), client::PatchType::Merge,
                                       json::parse(R"({"spec":{"replicas":5}})"), {});
  ASSERT_TRUE(merged) << merged.error().message();
  EXPECT_EQ((*merged)["spec"]["replicas"].integer(), 5);
  const auto strategic = f.client().patch(
      {}, api::resources::kDeployments, made.key(), client::PatchType::StrategicMerge,
      json::parse(R"({"spec":{"template":{"spec":{"containers":[{"name":"c","image":"new"}]}}}})"), {});
  ASSERT_TRUE(strategic) << strategic.error().message();
  EXPECT_EQ(strategic->pointer("/spec/template/spec/containers/0/image").string(), "new");
  const auto pointed = f.client().patch({}, api::resources::kDeployments, made.key(), client::PatchType::Json,
                                        json::parse(R"([{"op":"replace","path":"/spec/replicas","value":7}])"), {});
  ASSERT_TRUE(pointed) << pointed.error().message();
  EXPECT_EQ((*pointed)["spec"]["replicas"].integer(), 7);
  EXPECT_EQ(pointed->head().generation, 4);
}

TEST(Objects, ScaleReadsAndWritesReplicas) {
  Fixture f;
  const auto made = f.create(api::resources::kDeployments, "default", kDeployment);
  const auto scale = f.client().get({}, api::resources::kDeployments, made.key(), "scale");
  ASSERT_TRUE(scale);
  EXPECT_EQ((*scale)["kind"].string(), "Scale");
  EXPECT_EQ((*scale)["status"]["selector"].string(), "app=web");
  const auto written = f.client().patch({}, api::resources::kDeployments, made.key(), client::PatchType::Merge,
                                        json::parse(R"({"spec":{"replicas":4}})"), {.subresource = "scale"});
  ASSERT_TRUE(written) << written.error().message();
  EXPECT_EQ((*written)["spec"]["replicas"].integer(), 4);
  EXPECT_EQ((*f.client().get({}, api::resources::kDeployments, made.key(), ""))["spec"]["replicas"].integer(), 4);
}

TEST(Objects, ANamespaceGoesWhenItsFinalizerDoes) {
  Fixture f;
  f.create(api::resources::kNamespaces, "", R"({"metadata":{"name":"temp"}})");
  f.create(api::resources::kConfigMaps, "temp", kConfigMap);
  const auto removed = f.client().remove({}, api::resources::kNamespaces, {"", "temp"}, {});
  ASSERT_TRUE(removed);
  EXPECT_EQ((*removed)["status"]["phase"].string(), "Terminating");
  const auto late = f.client().create({}, api::resources::kConfigMaps, {"temp", ""},
                                      json::parse(R"({"metadata":{"name":"late"}})"), {});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().reason(), Reason::Forbidden);
  EXPECT_THAT(late.error().message(),
              HasSubstr("unable to create new content in namespace temp because it is being terminated"));

  json finalized = removed->to_json();
  finalized["spec"]["finalizers"] = json::array();
  const auto done =
      f.client().update({}, api::resources::kNamespaces, {"", "temp"}, finalized, {.subresource = "finalize"});
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_FALSE(f.client().get({}, api::resources::kNamespaces, {"", "temp"}, ""));
}

TEST(Objects, TheDefaultNamespaceStays) {
  Fixture f;
  const auto removed = f.client().remove({}, api::resources::kNamespaces, {"", "default"}, {});
  ASSERT_FALSE(removed);
  EXPECT_EQ(removed.error().message(), R"(namespaces "default" is forbidden: this namespace may not be deleted)");
}

TEST(Objects, DeleteCollectionRemovesWhatIsSelected) {
  Fixture f;
  f.create(api::resources::kConfigMaps, "default", kConfigMap);
  f.create(api::resources::kConfigMaps, "default", R"({"metadata":{"name":"b"}})");
  ASSERT_TRUE(f.client().remove_all({}, api::resources::kConfigMaps, {.ns = "default", .label_selector = "x=1"}, {}));
  const auto left = f.list(api::resources::kConfigMaps, "default");
  ASSERT_THAT(left, SizeIs(1));
  EXPECT_EQ(left[0].name(), "b");
}

TEST(Objects, AnImmutableSecretKeepsItsData) {
  Fixture f;
  const auto made = f.create(api::resources::kSecrets, "default",
                             R"({"metadata":{"name":"s"},"immutable":true,"stringData":{"k":"value"}})");
  EXPECT_EQ(made["data"]["k"].string(), "dmFsdWU=");
  EXPECT_EQ(made["type"].string(), "Opaque");
  json changed = made.to_json();
  changed["data"]["k"] = "b3RoZXI=";
  const auto updated = f.client().update({}, api::resources::kSecrets, made.key(), changed, {});
  ASSERT_FALSE(updated);
  EXPECT_THAT(updated.error().message(), HasSubstr("data: Forbidden: field is immutable when `immutable` is set"));
}

TEST(Objects, AnEventIsOneObjectInTwoGroups) {
  Fixture f;
  const api::Resource events{"events.k8s.io", "v1", "events"};
  const auto made =
      f.create(events, "default",
               R"({"metadata":{"name":"e"},"eventTime":"2026-01-01T00:00:00.000000Z","reportingController":"me",
    "reportingInstance":"me-1","action":"Testing","reason":"Because","note":"hello","type":"Normal","regarding":{"kind":"Pod","name":"p","namespace":"default"}})");
  EXPECT_EQ(made["apiVersion"].string(), "events.k8s.io/v1");
  EXPECT_EQ(made["note"].string(), "hello");
  const auto core = f.client().get({}, api::resources::kEvents, {"default", "e"}, "");
  ASSERT_TRUE(core);
  EXPECT_EQ((*core)["message"].string(), "hello");
  EXPECT_EQ((*core)["involvedObject"]["name"].string(), "p");
  const auto listed = f.client().list({}, events, {.ns = "default"});
  ASSERT_TRUE(listed);
  EXPECT_EQ(listed->items.at(0)["regarding"]["name"].string(), "p");
  const auto patched = f.client().patch({}, events, {"default", "e"}, client::PatchType::Merge,
                                        json::parse(R"({"deprecatedCount":3})"), {});
  ASSERT_TRUE(patched) << patched.error().message();
  EXPECT_EQ((*f.client().get({}, api::resources::kEvents, {"default", "e"}, ""))["count"].integer(), 3);
}

TEST(Objects, AnEventGoesByItselfAfterAnHour) {
  Fixture f;
  f.create(api::resources::kEvents, "default",
           R"({"metadata":{"name":"e"},"involvedObject":{"kind":"Pod","name":"p","namespace":"default"}})");
  f.clock().advance(std::chrono::minutes(59));
  f.executor().run_all();
  EXPECT_THAT(f.list(api::resources::kEvents, "default"), SizeIs(1));
  f.clock().advance(std::chrono::minutes(3));
  f.executor().run_all();
  EXPECT_TRUE(f.list(api::resources::kEvents, "default").empty());
}

TEST(Objects, AnAutoscalerIsServedInBothVersions) {
  Fixture f;
  const api::Resource old{"autoscaling", "v1", "horizontalpodautoscalers"};
  const auto made = f.create(
      old, "default",
      R"({"metadata":{"name":"h"},"spec":{"scaleTargetRef":{"kind":"Deployment","name":"web","apiVersion":"apps/v1"},
    "maxReplicas":5,"targetCPUUtilizationPercentage":70}})");
  EXPECT_EQ(made["spec"]["targetCPUUtilizationPercentage"].integer(), 70);
  const auto now = f.client().get({}, {"autoscaling", "v2", "horizontalpodautoscalers"}, {"default", "h"}, "");
  ASSERT_TRUE(now);
  EXPECT_EQ(now->pointer("/spec/metrics/0/resource/target/averageUtilization").integer(), 70);
}

TEST(Objects, AUserWithoutRightsIsRefusedInUpstreamsWords) {
  Fixture f;
  f.api().set_authorizer(nullptr);
  const auto alice = f.connector().connect({"alice", "", {}, {}});
  const auto listed = alice->list({}, api::resources::kPods, {.ns = "default"});
  ASSERT_FALSE(listed);
  EXPECT_EQ(listed.error().reason(), Reason::Forbidden);
  EXPECT_THAT(
      listed.error().message(),
      HasSubstr(
          R"(pods is forbidden: User "alice" cannot list resource "pods" in API group "" in the namespace "default")"));
}

}  // namespace
}  // namespace kubernel::apiserver
