"""Networks: ViT backbones, self-supervised objectives, training, checkpoints."""
