"""Which parts of a backbone stay fixed, and how its batch norms behave, by protocol."""

from timm.layers.norm_act import convert_sync_batchnorm
from torch import distributed, nn

from benchbed.models.backbone import Backbone
from benchbed.specs.training import Training

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def frozen_norms(backbone: Backbone, training: Training) -> list[nn.Module]:
    """Batch norms that keep their statistics: all of them, or those of the frozen stages."""
    if training.batch_norm == "frozen":
        roots: list[nn.Module] = [backbone]
    else:
        roots = [
            module
            for modules in backbone.stage_modules()[: training.freeze_stages]
            for module in modules
        ]
    return [norm for root in roots for norm in root.modules() if isinstance(norm, BATCH_NORMS)]


def synchronise(backbone: Backbone, training: Training) -> None:
    """Make the trunk's batch norms share their statistics, where the protocol says `sync`.

    Only where several processes train together; a single one trains plain batch norms, which is
    the same. Parameters and statistics stay the same objects. timm's conversion keeps the
    activation that its batch norms carry, which torch's own would drop.
    """
    several = distributed.is_available() and distributed.is_initialized()
    if training.batch_norm == "sync" and several and distributed.get_world_size() > 1:
        backbone.trunk = convert_sync_batchnorm(backbone.trunk)  # type: ignore[no-untyped-call]


def freeze(backbone: Backbone, training: Training) -> None:
    """Stop gradients of the frozen stages and of frozen batch norms' affine parameters.

    A frozen batch norm is detectron2's FrozenBatchNorm2d: statistics and affine both fixed.
    """
    for parameters in backbone.stages()[: training.freeze_stages]:
        for parameter in parameters:
            parameter.requires_grad_(False)
    for norm in frozen_norms(backbone, training):
        for parameter in norm.parameters(recurse=False):
            parameter.requires_grad_(False)


def set_train_mode(model: nn.Module, backbone: Backbone, training: Training) -> None:
    """`model.train()` with the frozen batch norms, and dropout in frozen stages, left in eval."""
    model.train()
    for modules in backbone.stage_modules()[: training.freeze_stages]:
        for module in modules:
            module.eval()
    for norm in frozen_norms(backbone, training):
        norm.eval()
