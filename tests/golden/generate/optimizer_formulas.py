"""Optimizers that PyTorch 1.13 lacks, or has with a mistake, written from their formulas in float64.

Each has the `param_groups` and `state` of torch.optim, and works on one parameter at a time.
"""

import math

import torch


class Formula:
    """Groups with defaults; update(p, g, group, state) changes a parameter in place."""

    defaults = {}

    def __init__(self, groups, **options):
        self.param_groups = [{**self.defaults, **options, **group} for group in groups]
        self.state = {p: {} for group in self.param_groups for p in group["params"]}

    def step(self):
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        self.update(p, p.grad, group, self.state[p])


class NAdam(Formula):
    """torch.optim.NAdam's documented formula, which its code follows since 2.0; 1.13 multiplies the
    product of the next step by mu twice."""

    defaults = dict(lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, momentum_decay=4e-3)

    def update(self, p, g, group, state):
        b1, b2 = group["betas"]
        t = state["step"] = state.get("step", 0) + 1
        mu = [b1 * (1 - 0.96 ** (k * group["momentum_decay"]) / 2) for k in range(1, t + 2)]
        state["mu_product"] = math.prod(mu[:t])
        g = g + group["weight_decay"] * p
        m = state["exp_avg"] = b1 * state.get("exp_avg", 0) + (1 - b1) * g
        v = state["exp_avg_sq"] = b2 * state.get("exp_avg_sq", 0) + (1 - b2) * g**2
        m_hat = mu[t] * m / (1 - math.prod(mu)) + (1 - mu[t - 1]) * g / (1 - math.prod(mu[:t]))
        p -= group["lr"] * m_hat / ((v / (1 - b2**t)).sqrt() + group["eps"])


class Lion(Formula):
    """Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", program 1."""

    defaults = dict(lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0)

    def update(self, p, g, group, state):
        b1, b2 = group["betas"]
        momentum = state.get("exp_avg", torch.zeros_like(p))
        update = torch.sign(momentum * b1 + g * (1 - b1))
        p -= group["lr"] * (update + p * group["weight_decay"])
        state["exp_avg"] = momentum * b2 + g * (1 - b2)


class LAMB(Formula):
    """You et al. 2020, "Large Batch Optimization for Deep Learning", algorithm 2 with phi(z) = z, and
    no ratio for groups without decay unless always_adapt, as timm's Lamb."""

    defaults = dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.01, bias_correction=True,
                    trust_clip=False, always_adapt=False)

    def update(self, p, g, group, state):
        b1, b2 = group["betas"]
        t = state["step"] = state.get("step", 0) + 1
        m = state["exp_avg"] = b1 * state.get("exp_avg", 0) + (1 - b1) * g
        v = state["exp_avg_sq"] = b2 * state.get("exp_avg_sq", 0) + (1 - b2) * g * g
        if group["bias_correction"]:
            m, v = m / (1 - b1**t), v / (1 - b2**t)
        r = m / (v.sqrt() + group["eps"]) + group["weight_decay"] * p
        ratio = 1.0
        if group["weight_decay"] != 0 or group["always_adapt"]:
            a, b = p.norm().item(), r.norm().item()
            ratio = a / b if a > 0 and b > 0 else 1.0
            ratio = min(ratio, 1.0) if group["trust_clip"] else ratio
        p -= group["lr"] * ratio * r


class Muon(Formula):
    """Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks", in float64; groups
    of method "adamw" are AdamW's."""

    defaults = dict(method="muon", lr=0.02, weight_decay=0.0, momentum=0.95, nesterov=True,
                    ns_steps=5, eps=1e-7, betas=(0.9, 0.95))

    def update(self, p, g, group, state):
        if group["method"] == "adamw":
            return self.adamw(p, g, group, state)
        mu = group["momentum"]
        b = state["momentum_buffer"] = mu * state.get("momentum_buffer", 0) + (1 - mu) * g
        d = (mu * b + (1 - mu) * g) if group["nesterov"] else b
        x = d.reshape(len(p), -1)
        rows, columns = x.shape
        # By singular values: the odd polynomial of the iteration acts on each of them alone.
        u, s, vh = torch.linalg.svd(x, full_matrices=False)
        s = s / (s.square().sum().sqrt() + group["eps"])
        for _ in range(group["ns_steps"]):
            s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
        x = (u * s) @ vh
        p *= 1 - group["lr"] * group["weight_decay"]
        p -= group["lr"] * max(1, rows / columns) ** 0.5 * x.reshape(p.shape)

    def adamw(self, p, g, group, state):
        b1, b2 = group["betas"]
        t = state["step"] = state.get("step", 0) + 1
        m = state["exp_avg"] = b1 * state.get("exp_avg", 0) + (1 - b1) * g
        v = state["exp_avg_sq"] = b2 * state.get("exp_avg_sq", 0) + (1 - b2) * g * g
        p *= 1 - group["lr"] * group["weight_decay"]
        p -= group["lr"] * (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + group["eps"])


FORMULAS = {"NAdam": NAdam, "Lion": Lion, "LAMB": LAMB, "Muon": Muon}
