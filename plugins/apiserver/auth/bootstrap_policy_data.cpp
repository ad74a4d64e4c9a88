// SPDX-License-Identifier: Apache-2.0
//
// The default roles as data. One role per paragraph; a line is a rule:
//
//   groups : resources : verbs [: names]        the core group is written "core"
//   urls   : paths : verbs
//
// kubernel:node-network is ours: our kubelet also makes the routes to other nodes' pods, for which upstream's network
// daemons have an account of their own.
//
// Verb shorthands: r = get list watch, lw = list watch, w = create delete deletecollection patch update, rw = both,
// ev = create patch update.
#include "auth/bootstrap_policy_data.h"

namespace kubernel::apiserver {

std::string_view cluster_role_data() {
  return R"(role cluster-admin
* : * : *
urls : * : *

role admin <- admin

role edit -> admin <- edit

role view -> edit <- view

role system:aggregate-to-admin -> admin
authorization.k8s.io : localsubjectaccessreviews : create
rbac.authorization.k8s.io : rolebindings roles : rw

role system:aggregate-to-edit -> edit
core : pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy : r
core : serviceaccounts : impersonate
core : pods pods/attach pods/exec pods/portforward pods/proxy : w
core : pods/eviction : create
core : configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets serviceaccounts services services/proxy : w
core : serviceaccounts/token : create
apps : daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale : w
autoscaling : horizontalpodautoscalers : w
batch : cronjobs jobs : w
extensions : daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies replicasets replicasets/scale replicationcontrollers/scale : w
policy : poddisruptionbudgets : w
networking.k8s.io : ingresses networkpolicies : w
coordination.k8s.io : leases : rw
resource.k8s.io : resourceclaims resourceclaimtemplates : w

role system:aggregate-to-view -> view
core : configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status : r
core : bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas resourcequotas/status : r
core : namespaces : r
discovery.k8s.io : endpointslices : r
apps : controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status : r
autoscaling : horizontalpodautoscalers horizontalpodautoscalers/status : r
batch : cronjobs cronjobs/status jobs jobs/status : r
extensions : daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses ingresses/status networkpolicies replicasets replicasets/scale replicasets/status replicationcontrollers/scale : r
policy : poddisruptionbudgets poddisruptionbudgets/status : r
networking.k8s.io : ingresses ingresses/status networkpolicies : r
resource.k8s.io : resourceclaims resourceclaims/status resourceclaimtemplates : r

role kubernel:node-network
core : nodes : r

role system:auth-delegator
authentication.k8s.io : tokenreviews : create
authorization.k8s.io : subjectaccessreviews : create

role system:basic-user
authorization.k8s.io : selfsubjectaccessreviews selfsubjectrulesreviews : create
authentication.k8s.io : selfsubjectreviews : create

role system:certificates.k8s.io:certificatesigningrequests:nodeclient
certificates.k8s.io : certificatesigningrequests/nodeclient : create

role system:certificates.k8s.io:certificatesigningrequests:selfnodeclient
certificates.k8s.io : certificatesigningrequests/selfnodeclient : create

role system:certificates.k8s.io:kube-apiserver-client-approver
certificates.k8s.io : signers : approve : kubernetes.io/kube-apiserver-client

role system:certificates.k8s.io:kube-apiserver-client-kubelet-approver
certificates.k8s.io : signers : approve : kubernetes.io/kube-apiserver-client-kubelet

role system:certificates.k8s.io:kubelet-serving-approver
certificates.k8s.io : signers : approve : kubernetes.io/kubelet-serving

role system:certificates.k8s.io:legacy-unknown-approver
certificates.k8s.io : signers : approve : kubernetes.io/legacy-unknown

role system:discovery
urls : /api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/ : get

role system:heapster
core : events namespaces nodes pods : r
extensions : deployments : r

role system:kube-aggregator
core : endpoints services : r

role system:kube-controller-manager
core events.k8s.io : events : ev
coordination.k8s.io : leases : create
coordination.k8s.io : leases : get update : kube-controller-manager
core : secrets serviceaccounts : create
core : secrets : delete
core : configmaps namespaces secrets serviceaccounts : get
core : secrets serviceaccounts : update
authentication.k8s.io : tokenreviews : create
authorization.k8s.io : subjectaccessreviews : create
* : * : lw
core : serviceaccounts/token : create

role system:kube-dns
core : endpoints services : lw
discovery.k8s.io : endpointslices : lw

role system:kube-scheduler
core events.k8s.io : events : ev
coordination.k8s.io : leases : create
coordination.k8s.io : leases : get list update watch : kube-scheduler
core : nodes : r
core : pods : delete get list watch
core : bindings pods/binding : create
core : pods/status : patch update
core : replicationcontrollers services : r
apps extensions : replicasets : r
apps : statefulsets : r
policy : poddisruptionbudgets : r
core : persistentvolumeclaims persistentvolumes : r
authentication.k8s.io : tokenreviews : create
authorization.k8s.io : subjectaccessreviews : create
storage.k8s.io : csinodes : r
core : namespaces : r
storage.k8s.io : csidrivers : r
storage.k8s.io : csistoragecapacities : r
storage.k8s.io : volumeattachments : r
resource.k8s.io : deviceclasses resourceslices : r
resource.k8s.io : resourceclaims : get list patch update watch
resource.k8s.io : resourceclaims/status : patch update
resource.k8s.io : resourceclaims/binding : patch update
core : pods/finalizers : update

role system:kubelet-api-admin
core : nodes : r
core : nodes : proxy
core : nodes/configz nodes/healthz nodes/log nodes/metrics nodes/pods nodes/proxy nodes/stats : *

role system:monitoring
urls : /healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/* : get

role system:node
authentication.k8s.io : tokenreviews : create
authorization.k8s.io : localsubjectaccessreviews subjectaccessreviews : create
core : services : r
core : nodes : create get list watch
core : nodes/status : patch update
core : nodes : patch update
core events.k8s.io : events : ev
core : pods : r
core : pods : create delete
core : pods/status : patch update
core : pods/eviction : create
core : configmaps secrets : r
core : persistentvolumeclaims persistentvolumes : get
core : endpoints : get
certificates.k8s.io : certificatesigningrequests : create get list watch
coordination.k8s.io : leases : create delete get patch update
storage.k8s.io : volumeattachments : get
core : serviceaccounts/token : create
core : persistentvolumeclaims/status : get patch update
storage.k8s.io : csidrivers : r
storage.k8s.io : csinodes : create delete get patch update
node.k8s.io : runtimeclasses : r
resource.k8s.io : resourceclaims : get
resource.k8s.io : resourceslices : deletecollection
resource.k8s.io : resourceslices : create delete get list patch update watch

role system:node-bootstrapper
certificates.k8s.io : certificatesigningrequests : create get list watch

role system:node-problem-detector
core : nodes : get
core : nodes/status : patch
core events.k8s.io : events : ev

role system:node-proxier
core : endpoints services : lw
core : nodes : r
core events.k8s.io : events : ev
discovery.k8s.io : endpointslices : lw
networking.k8s.io : servicecidrs : lw

role system:persistent-volume-provisioner
core : persistentvolumes : create delete get list watch
core : persistentvolumeclaims : get list update watch
storage.k8s.io : storageclasses : r
core : events : watch
core events.k8s.io : events : ev

role system:public-info-viewer
urls : /healthz /livez /readyz /version /version/ : get

role system:service-account-issuer-discovery
urls : /.well-known/openid-configuration /openid/v1/jwks : get

role system:volume-scheduler
core : persistentvolumes : get list patch update watch
storage.k8s.io : storageclasses : r
core : persistentvolumeclaims : get list patch update watch
)";
}

std::string_view controller_role_data() {
  return R"(role attachdetach-controller
core : persistentvolumeclaims persistentvolumes : lw
core : nodes : r
core : nodes/status : patch update
core : pods : lw
core events.k8s.io : events : ev
storage.k8s.io : volumeattachments : create delete get list watch
storage.k8s.io : csidrivers csinodes : r

role certificate-controller
certificates.k8s.io : certificatesigningrequests : delete get list watch
certificates.k8s.io : certificatesigningrequests/approval certificatesigningrequests/status : update
certificates.k8s.io : signers : approve : kubernetes.io/kube-apiserver-client-kubelet
certificates.k8s.io : signers : sign : kubernetes.io/kube-apiserver-client kubernetes.io/kube-apiserver-client-kubelet kubernetes.io/kubelet-serving kubernetes.io/legacy-unknown
authorization.k8s.io : subjectaccessreviews : create
core events.k8s.io : events : ev

role clusterrole-aggregation-controller
rbac.authorization.k8s.io : clusterroles : escalate get list patch update watch

role cronjob-controller
batch : cronjobs : get list update watch
batch : jobs : create delete get list patch update watch
batch : cronjobs/status : update
batch : cronjobs/finalizers : update
core : pods : delete list watch
core events.k8s.io : events : ev

role daemon-set-controller
apps extensions : daemonsets : r
apps extensions : daemonsets/status : update
apps extensions : daemonsets/finalizers : update
core : nodes : lw
core : pods : create delete list patch watch
core : pods/binding : create
apps : controllerrevisions : create delete get list patch update watch
core events.k8s.io : events : ev

role deployment-controller
apps extensions : deployments : get list update watch
apps extensions : deployments/status : update
apps extensions : deployments/finalizers : update
apps extensions : replicasets : create delete get list patch update watch
core : pods : get list update watch
core events.k8s.io : events : ev

role device-taint-eviction-controller
core : pods : delete get list watch
core : pods/status : patch update
resource.k8s.io : resourceclaims resourceslices deviceclasses : r
core events.k8s.io : events : ev

role disruption-controller
apps extensions : deployments replicasets : r
core : replicationcontrollers : r
policy : poddisruptionbudgets : r
apps : statefulsets : r
policy : poddisruptionbudgets/status : update
core : pods/status : patch update
* : */scale : get
core events.k8s.io : events : ev

role endpoint-controller
core : pods services : r
core : endpoints : create delete get list update watch
core : endpoints/restricted : create
core events.k8s.io : events : ev

role endpointslice-controller
core : nodes pods services : r
core : services/finalizers : update
discovery.k8s.io : endpointslices : create delete get list update watch
core events.k8s.io : events : ev

role endpointslicemirroring-controller
core : endpoints services : r
core : services/finalizers : update
core : endpoints/finalizers : update
discovery.k8s.io : endpointslices : create delete get list update watch
core events.k8s.io : events : ev

role ephemeral-volume-controller
core : pods : r
core : pods/finalizers : update
core : persistentvolumeclaims : create get list watch
core events.k8s.io : events : ev

role expand-controller
core : persistentvolumes : get list patch update watch
core : persistentvolumeclaims/status : patch update
core : persistentvolumeclaims : r
core events.k8s.io : events : ev

role generic-garbage-collector
* : * : delete get list patch update watch
core events.k8s.io : events : ev

role horizontal-pod-autoscaler
autoscaling : horizontalpodautoscalers : r
autoscaling : horizontalpodautoscalers/status : update
* : */scale : get update
core : pods : lw
metrics.k8s.io : pods : lw
custom.metrics.k8s.io : * : r
external.metrics.k8s.io : * : r
core events.k8s.io : events : ev

role job-controller
batch : jobs : get list patch update watch
batch : jobs/status : update
batch : jobs/finalizers : update
core : pods : create delete list patch watch
core events.k8s.io : events : ev

role legacy-service-account-token-cleaner
core : configmaps : get : kube-apiserver-legacy-service-account-token-tracking
core : secrets : delete patch

role namespace-controller
core : namespaces : delete get list watch
core : namespaces/finalize namespaces/status : update
* : * : delete deletecollection get list watch

role node-controller
core : nodes : delete get list patch update watch
core : nodes/status : patch update
core : pods/status : patch update
core : pods : delete get list watch
core events.k8s.io : events : ev

role persistent-volume-binder
core : persistentvolumes : create delete get list update watch
core : persistentvolumes/status : update
core : persistentvolumeclaims : get list update watch
core : persistentvolumeclaims/status : update
core : pods : create delete get list watch
storage.k8s.io : storageclasses : r
core : nodes : lw
core events.k8s.io : events : ev
core : events : watch

role pod-garbage-collector
core : pods : delete list watch
core : nodes : r
core : pods/status : patch

role pv-protection-controller
core : persistentvolumes : get list update watch
core events.k8s.io : events : ev

role pvc-protection-controller
core : persistentvolumeclaims : get list update watch
core : persistentvolumeclaims/status : update
core : pods : r
core events.k8s.io : events : ev

role replicaset-controller
apps extensions : replicasets : get list update watch
apps extensions : replicasets/status : update
apps extensions : replicasets/finalizers : update
core : pods : create delete list patch watch
core events.k8s.io : events : ev

role replication-controller
core : replicationcontrollers : get list update watch
core : replicationcontrollers/status : update
core : replicationcontrollers/finalizers : update
core : pods : create delete list patch watch
core events.k8s.io : events : ev

role resource-claim-controller
core : pods : r
core : pods/finalizers : update
resource.k8s.io : resourceclaims : create delete get list watch
resource.k8s.io : resourceclaims resourceclaims/status : patch update
core : pods/status : patch update
core events.k8s.io : events : ev
resource.k8s.io : resourceclaims/binding : patch update

role resourcequota-controller
* : * : lw
core : resourcequotas/status : update
core events.k8s.io : events : ev

role root-ca-cert-publisher
core : configmaps : create update
core events.k8s.io : events : ev

role route-controller
core : nodes : lw
core : nodes/status : patch
core events.k8s.io : events : ev

role selinux-warning-controller
core events.k8s.io : events : ev
core : persistentvolumes persistentvolumeclaims pods : r
storage.k8s.io : csidrivers : r

role service-account-controller
core : serviceaccounts : create
core events.k8s.io : events : ev

role service-cidrs-controller
networking.k8s.io : servicecidrs : get list patch update watch
networking.k8s.io : servicecidrs/finalizers : patch update
networking.k8s.io : servicecidrs/status : patch update
networking.k8s.io : ipaddresses : r
core events.k8s.io : events : ev

role service-controller
core : services : r
core : services/status : patch update
core : nodes : lw
core events.k8s.io : events : ev

role statefulset-controller
core : pods : lw
apps : statefulsets : r
apps : statefulsets/status : update
apps : statefulsets/finalizers : update
core : pods : create delete get patch update
apps : controllerrevisions : create delete get list patch update watch
core : persistentvolumeclaims : create get list watch
core : persistentvolumeclaims : delete update
core : pods/finalizers : update
core events.k8s.io : events : ev

role ttl-after-finished-controller
batch : jobs : delete get list watch
core events.k8s.io : events : ev

role ttl-controller
core : nodes : list patch update watch
core events.k8s.io : events : ev

role validatingadmissionpolicy-status-controller
admissionregistration.k8s.io : validatingadmissionpolicies : r
admissionregistration.k8s.io : validatingadmissionpolicies/status : get patch update
core events.k8s.io : events : ev

role volumeattributesclass-protection-controller
core : persistentvolumeclaims persistentvolumes : r
storage.k8s.io : volumeattributesclasses : get list update watch
core events.k8s.io : events : ev
)";
}

std::string_view namespaced_role_data() {
  return R"(role kube-system/extension-apiserver-authentication-reader
core : configmaps : r : extension-apiserver-authentication

role kube-system/system::leader-locking-kube-controller-manager
coordination.k8s.io : leases : create get list update watch
coordination.k8s.io : leasecandidates : create get list update watch

role kube-system/system::leader-locking-kube-scheduler
coordination.k8s.io : leases : create get list update watch
coordination.k8s.io : leasecandidates : create get list update watch

role kube-system/system:controller:bootstrap-signer
core : secrets : r

role kube-system/system:controller:cloud-provider
core : configmaps : create get list watch

role kube-system/system:controller:token-cleaner
core : secrets : delete get list watch
core events.k8s.io : events : ev

role kube-public/system:controller:bootstrap-signer
core : configmaps : r
core : configmaps : update : cluster-info
core events.k8s.io : events : ev
)";
}

}  // namespace kubernel::apiserver
