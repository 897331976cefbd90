import pytest
import torch
from torch import nn
from torchvision.models.segmentation.deeplabv3 import DeepLabHead
from torchvision.models.segmentation.fcn import FCNHead

from benchbed.finetune.deeplab import DeepLabV3, ImagePooling
from benchbed.specs.segmentation import AsppHead, AuxiliaryHead

HEAD = AsppHead(channels=256, rates=(12, 24, 36), dropout=0.5)
AUXILIARY = AuxiliaryHead(channels=4, dropout=0.1, loss_weight=0.4)


@pytest.fixture
def model(small_backbone):
    return DeepLabV3(small_backbone, 5, HEAD, AUXILIARY)


def transfer(source, target):
    """Copy weights in order; both list the same layers one after the other."""
    values, own = list(source.state_dict().values()), target.state_dict()
    assert [v.shape for v in values] == [v.shape for v in own.values()]
    target.load_state_dict(dict(zip(own, values, strict=True)))


@pytest.mark.parametrize("training", [True, False])
def test_logits_equal_torchvisions_head_with_equal_weights(model, training):
    reference = DeepLabHead(32, 5)
    transfer(reference, model.head)
    for module in (*reference.modules(), *model.head.modules()):
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    x = torch.randn(3, 32, 9, 11, generator=torch.Generator().manual_seed(1))
    reference.train(training)
    model.head.train(training)
    torch.testing.assert_close(model.head(x), reference(x))


def test_the_auxiliary_head_equals_torchvisions(model):
    reference = FCNHead(16, 5).eval()
    transfer(reference, model.auxiliary)
    x = torch.randn(2, 16, 6, 6)
    torch.testing.assert_close(model.auxiliary.eval()(x), reference(x))


def test_logits_have_the_pictures_size_and_the_auxiliary_is_for_training(model):
    images = torch.rand(2, 3, 64, 96)
    main, auxiliary = model.train()(images)
    assert main.shape == auxiliary.shape == (2, 5, 64, 96)
    assert model.eval()(images)[1] is None


def test_a_training_batch_of_one_uses_running_statistics_and_does_not_fail():
    pooling = ImagePooling(4, 6).train()
    x = torch.randn(1, 4, 5, 5)
    before = pooling.norm.running_mean.clone()
    trained = pooling(x)
    assert torch.equal(pooling.norm.running_mean, before)
    torch.testing.assert_close(trained, pooling.eval()(x))


def test_a_whole_training_step_on_one_picture_works(model):
    main, auxiliary = model.train()(torch.rand(1, 3, 64, 64))
    (main.sum() + auxiliary.sum()).backward()
    pooling = model.head[0].branches[-1]
    assert pooling.conv.weight.grad.isfinite().all()


def test_a_larger_training_batch_moves_the_statistics():
    pooling = ImagePooling(4, 6).train()
    before = pooling.norm.running_mean.clone()
    pooling(torch.randn(3, 4, 5, 5) + 1)
    assert not torch.equal(pooling.norm.running_mean, before)
