"""Kubernetes: pods of the application and an nginx, which get requests when ``gateway ping`` finds them ready."""

from __future__ import annotations

from gateway.cli.configurations import Configuration, Site, nginx
from gateway.cli.configurations.docker import in_containers

TABLE = """
 |  | # kubectl apply -f FILE, with the image of `gateway config docker @target@`
 |  | apiVersion: v1
 |  | kind: ConfigMap
 |  | metadata:
 |  |   name: @label@
 |  | data:
 |  |   nginx.conf: |
 |  |     @nginx@
 |  | ---
 |  | apiVersion: apps/v1
 |  | kind: Deployment
 |  | metadata:
 |  |   name: @label@
 |  | spec:
 |  |   replicas: 2
 |  |   selector:
 |  |     matchLabels:
 |  |       app: @label@
 |  |   template:
 |  |     metadata:
 |  |       labels:
 |  |         app: @label@
 |  |     spec:
 |  |       containers:
 |  |         - name: @label@
 |  |           image: @label@:latest
 |  |           command: @start@
 |  |           readinessProbe:
 |  |             exec:
 |  |               command: @ping@
 |  |             periodSeconds: 5
 |  |             timeoutSeconds: 6
 |  |           securityContext:
 |  |             runAsNonRoot: true
 |  |             runAsUser: 65534
 |  |             allowPrivilegeEscalation: false
 |  |             capabilities:
 |  |               drop: [ALL]
 |  |         - name: web
 |  |           image: nginx:stable
 |  |           ports:
 |  |             - name: http
 |  |               containerPort: @port@
 |  |           volumeMounts:
 |  |             - name: nginx
 |  |               mountPath: /etc/nginx/nginx.conf
 |  |               subPath: nginx.conf
 |  |       volumes:
 |  |         - name: nginx
 |  |           configMap:
 |  |             name: @label@
 |  | ---
 |  | apiVersion: v1
 |  | kind: Service
 |  | metadata:
 |  |   name: @label@
 |  | spec:
 |  |   selector:
 |  |     app: @label@
 |  |   ports:
 |  |     - name: http
 |  |       port: 80
 |  |       targetPort: http
"""


def values(site: Site) -> dict[str, object]:
    """Containers of one pod are at one address."""
    return in_containers(site, listen="127.0.0.1", connect="127.0.0.1") | {"target": site.target}


configuration = Configuration("Kubernetes", {"kubernetes.yaml": TABLE}, values=values, wires=nginx.configuration.wires)
